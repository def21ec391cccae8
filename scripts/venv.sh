# Sourced by the other scripts: makes .venv once, installs a requirements file into it, and activates it.
# PYTHON=python3.10 bash scripts/demo.sh   chooses another interpreter for a new .venv.

use_venv() { # requirements file
    local python=${PYTHON:-python3}
    if [ ! -x .venv/bin/python ]; then
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null || {
            echo "$python is missing or older than Python 3.9; name another one: PYTHON=python3.11 bash $0" >&2
            exit 1
        }
        echo "== making .venv with $("$python" --version)"
        "$python" -m venv .venv || {
            echo "$python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2
            exit 1
        }
    fi
    . .venv/bin/activate
    local stamp
    stamp=.venv/$(cat requirements*.txt | cksum | tr ' ' -)-$1
    if [ ! -e "$stamp" ]; then
        echo "== installing $1 into .venv (MindSpore is several hundred MB to download the first time)"
        python -m pip install --quiet --disable-pip-version-check -r "$1" || {
            echo "the installation failed; MindSpore has wheels for some Pythons only (3.9 to 3.12 in 2026)." >&2
            echo "with another one: rm -r .venv; PYTHON=python3.11 bash $0" >&2
            exit 1
        }
        touch "$stamp"
    else
        echo "== using .venv as it is"
    fi
}
