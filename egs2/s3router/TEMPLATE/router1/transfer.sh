#!/usr/bin/env bash
# Stage 18 of recipes with several languages: each language starts from the mask of every other one, frozen and adapted.
# The run.sh of a recipe calls this from its own directory, after stages 1 to 13 of its languages:
#   transfer.sh [--kinds frozen] --control en --language OPTIONS OF router.sh --language OPTIONS OF router.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

stage_18 "transfer matrix" transfer "$@"
