#!/usr/bin/env bash
# Builds the docs site into outputs/site, with strict links: makes .venv, installs requirements-docs.txt, runs mkdocs.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/venv.sh
use_venv requirements-docs.txt
NO_MKDOCS_2_WARNING=1 exec mkdocs build --strict "$@"
