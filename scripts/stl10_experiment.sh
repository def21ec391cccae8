#!/usr/bin/env bash
# STL10 without and with BYOL, several seeds: makes .venv, installs requirements.txt, trains, ends with table and plot.
# Arguments go to scripts/stl10_experiment.py: bash scripts/stl10_experiment.sh --data_dir /path/to/stl10 --init FILE
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/venv.sh
use_venv requirements.txt
python scripts/stl10_experiment.py "$@"
