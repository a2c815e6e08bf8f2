#!/usr/bin/env bash
# HJ-Pruning on ten minutes of recorded English prompts: smaller and faster models, from the same dense models (stage 16).
#   ./run.sh            three variants, 10 to 70 % less, three seeds: 3 dense models and 63 runs; writes RESULTS.md
#   ./run.sh --quick    one variant, two targets, one seed, 60 updates; writes into exp/quick
# Every run leaves its smaller model in exp/<run>/shrunk, compared and timed. It decodes and finetunes like any other.

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option lang en "en, es, fr, it or ru: language of the prompts"
option quick false "a small grid, see above"
option model whisper_tiny_en "file of conf/upstream: whisper_tiny_en or hubert_mini"
own_options "$@"
. ../choices.sh
mkdir -p ../asr1/downloads # the target of the link downloads

choices=(--asr_config "conf/train_asr.yaml ${file}" --results_md "${results}.md" --prune_methods "hj_size hj_macs hj_sep_macs"
    --sparsities "0.1 0.2 0.3 0.4 0.5 0.6 0.7" --seeds "0 1 2")
if "${quick}"; then
    choices=(--asr_config "conf/train_asr.yaml ${file} conf/quick/train_asr.yaml" --expdir exp/quick
        --results_md exp/quick/RESULTS.md --prune_methods hj_macs --sparsities "0.3 0.6" --seeds 0)
fi
# stage 16 trains its dense models itself
../../TEMPLATE/router1/router.sh --recipe asterisk/hj1 "${corpus[@]}" --methods_config "conf/rows.yaml${methods#conf/methods.yaml}" \
    --stop_stage 16 --skip_train true --skip_eval true "${choices[@]}" "${rest[@]}"
