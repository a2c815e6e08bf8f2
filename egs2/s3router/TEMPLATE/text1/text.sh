#!/usr/bin/env bash
# The stages of a recipe on texts alone. A recipe's run.sh holds choices only and calls this from its own directory.
# espnet_s3router/text_intents/options.py declares the options.
# shellcheck disable=SC2154  # script_options sets the variables
. "$(dirname "${BASH_SOURCE[0]}")/../router1/common.sh"

export run_command=${run_command:-text.sh $*}
rest=("$@")
script_options espnet_s3router.text_intents.options

{ # bash reads all of this before it runs any of it
if [ "${stage}" -le 1 ] && [ "${#local_data[@]}" -gt 0 ]; then
    log "Stage 1: data preparation"
    "${python}" -m "${local_data[@]}"
fi
if [ "${stop_stage}" -ge 11 ]; then
    log "Stages 11 to 13: train, give intents, score -> ${expdir}"
    "${python}" -m espnet_s3router.text_intents "${words[@]}"
fi
exit
}
