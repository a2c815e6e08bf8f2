#!/usr/bin/env bash
# Mutation run: a random sample of small faults, one at a time, in a copy of this repository. Prints which ones no test finds.
#   tests/mutation/run.sh [ROOM ...] [--mutants 60] [--seed 0] [--minutes 10]
# ROOM: masks, methods or plugin; masks and methods by default. Takes about half an hour. Not part of CI.
# Needs cosmic-ray in the environment: pip install cosmic-ray
set -euo pipefail
cd "$(dirname "$0")/../.."
copy=$(mktemp -d)
trap 'rm -rf "${copy}"' EXIT
git ls-files -z | xargs -0 cp --parents --no-dereference -t "${copy}"
cd "${copy}"
PYTHONPATH=${copy} PYTHONDONTWRITEBYTECODE=1 python tests/mutation/sample.py "$@"
