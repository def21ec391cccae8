#!/usr/bin/env bash
# Makes .venv, installs what the tests need, checks the formatting and runs the tests. Arguments go to pytest:
#   bash scripts/test.sh                     everything
#   bash scripts/test.sh -m "not slow"       without the long end-to-end checks
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/venv.sh
use_venv requirements-dev.txt
echo "== black, isort, flake8"
black --quiet --check . && isort --quiet --check . && flake8
echo "== pytest $*"
# A file stays in one process, since its tests share what they trained.
exec python -m pytest -n 2 --dist loadfile "$@"
