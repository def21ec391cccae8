#!/usr/bin/env bash
# Runs the tests with other Pythons and MindSpores, each pair in a virtual environment of its own. Arguments go to pytest:
#   bash scripts/test_versions.sh                                       2.7.2 and 2.10.0 with each Python from 3.9 to 3.12
#   PAIRS="3.9:2.7.2" bash scripts/test_versions.sh tests/modules tests/config tests/training
# A Python that is not there (python3.X on the PATH, or one of pyenv's), and a pair without a wheel, are left out and named
# at the end. The environments stay in VENVS (outputs/versions): a second time is fast.
set -uo pipefail
cd "$(dirname "$0")/.."
venvs=${VENVS:-outputs/versions}
pairs=${PAIRS:-$(for python in 3.9 3.10 3.11 3.12; do echo $python:2.7.2 $python:2.10.0; done)}
[ $# -gt 0 ] || set -- -q -m "not slow"

interpreter() { # version
    local found
    for found in "python$1" "$HOME/.pyenv/versions/$1".*/bin/python; do
        "$found" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null && echo "$found" && return
    done
    return 1
}

summary="" status=0
for pair in $pairs; do
    python=${pair%%:*} mindspore=${pair##*:}
    venv=$venvs/py$python-ms$mindspore
    said="Python $python, MindSpore $mindspore"
    if ! found=$(interpreter "$python"); then
        summary+="$said: left out, there is no python$python"$'\n'
        continue
    fi
    if [ ! -e "$venv/installed" ]; then
        echo "== $said: making $venv"
        rm -rf "$venv"
        if ! { "$found" -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check \
            "mindspore==$mindspore" -r requirements-dev.txt && touch "$venv/installed"; }; then
            summary+="$said: left out, the packages cannot be installed (no wheel?)"$'\n'
            continue
        fi
    fi
    echo "== $said: pytest $*"
    if PATH=$(realpath "$venv")/bin:$PATH "$venv/bin/python" -m pytest "$@"; then
        summary+="$said: passed"$'\n'
    else
        summary+="$said: FAILED"$'\n' status=1
    fi
done
printf '\n%s' "$summary"
exit $status
