#!/usr/bin/env bash
# Five languages on one base: a route for each, of ten minutes of recorded prompts; masks against weights and adapters.
#   ./run.sh            trains, and writes the routes of all languages into exp/routes
#   ./run.sh --langs "en es" --methods routing

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option langs "en es fr it ru" "languages of the prompts"
option model whisper_tiny_en "file of conf/upstream: whisper_tiny_en or hubert_mini"
own_options "$@"
mkdir -p ../asr1/downloads # the target of the link downloads

for lang in ${langs}; do
    . ../choices.sh
    log "language ${lang}"
    ../../TEMPLATE/router1/router.sh --recipe asterisk/multi1 "${corpus[@]}" --asr_config "conf/train_asr.yaml ${file}" \
        --methods_config "${methods}" --methods "head_only finetune lora routing" --sparsities "0.08" --parallel 4 "${rest[@]}"
done
