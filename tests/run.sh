#!/usr/bin/env bash
# Sets up what is missing, then: lint, types, imports, shell scripts, unit and recipe tests, a smoke on the other Python.
#   tests/run.sh [pytest options]
set -euo pipefail
cd "$(dirname "$0")/.."
. ./install.sh
step() { echo "== $*"; }

step "lint"
ruff check .
ruff format --check .
step "types"
mypy
step "imports"
lint-imports --no-logo 2>/dev/null || lint-imports
step "shell scripts"
mapfile -t scripts < <(git ls-files '*.sh' .ci/run '*.pl' 2>/dev/null || find . -name '*.sh' -not -path './.venv*')
shellcheck "${scripts[@]}"
step "tests"
python -m pytest "$@"
[ $# -eq 0 ] || exit 0
step "smoke on the other Python"
tests/smoke.sh
