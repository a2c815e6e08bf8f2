#!/usr/bin/env bash
# Makes the environment, then runs every check: lint, types, imports, shell scripts, all tests, a smoke test on another Python.
#   tests/run.sh [pytest options]    the same up to the tests, with these options; no smoke test
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
python -m pytest -n 2 --dist loadgroup "$@" # two processes; options that follow take precedence, such as -n 0
[ $# -eq 0 ] || exit 0
step "smoke test on another Python"
tests/smoke.sh
