#!/usr/bin/env bash
# Stage 18 of recipes with two tasks: what is forgotten of one when the other is learned later, and masks of one on the other.
# The run.sh of a recipe calls this from its own directory, after stages 1 to 13 of both tasks:
#   tasks.sh --parts forgetting frozen --router OPTIONS OF router.sh --router OPTIONS OF router.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

stage_18 "two tasks on one upstream" tasks "$@"
