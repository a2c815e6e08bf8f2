#!/usr/bin/env bash
# Ten minutes of recorded English prompts: how well do masks alone adapt a model, compared with finetuning its weights?
#   ./run.sh            one seed, two sparsities: the main job
#   ./run.sh --full     a grid of learning rates, then three seeds at the best rate on dev: controls, baselines, more
#                       sparsities; writes RESULTS.md
# Whisper tiny.en's encoder was trained with supervision on English, so masks have much to choose from. hubert_mini, the small
# self-supervised model of this project, shows the opposite case.

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option lang en "en, es, fr, it or ru: language of the prompts"
option full false "the learning-rate grid and everything after it, see above"
option bytes false "the curve of error against bytes: routes of several sizes, LoRA, adapters, BitFit and BitDelta"
option model whisper_tiny_en "file of conf/upstream: whisper_tiny_en or hubert_mini"
own_options "$@"
one_kind "${full}" "${bytes}"
. ../choices.sh

router() {
    ../../TEMPLATE/router1/router.sh --recipe asterisk/asr1 "${corpus[@]}" --asr_config "conf/train_asr.yaml ${file}" "$@"
}

if "${bytes}"; then
    . ../bytes.sh
    bytes_curve "${rest[@]}"
    exit
fi
if ! "${full}"; then
    # all four runs at a time: with two, one core would be idle while the last one trains
    router --methods_config "${methods}" --methods "head_only finetune routing" --sparsities "0.08 0.2" --parallel 4 "${rest[@]}"
    exit
fi
# 1. the learning rate of every method, chosen on dev from grids of equal size
rates=exp/grid/rates_${tag:-hubert_mini}.yaml
router --stop_stage 13 --expdir exp/grid --methods_config "${methods}" --methods "finetune routing lora houlsby bitfit" \
    --lrs "1e-4 3e-4 1e-3 3e-3" --best_rates "${rates}" "${rest[@]}"
[ "$(requested stop_stage 13)" -ge 13 ] || exit 0
# 2. all methods at those rates, three seeds
all=(--methods_config "${methods} ${rates}" --seeds "0 1 2")
router --stage 10 --stop_stage 13 "${all[@]}" --methods "head_only finetune lora houlsby bitfit" "${rest[@]}"
router --stage 11 --stop_stage 13 "${all[@]}" --methods "routing random magnitude" --sparsities "0.04 0.08 0.12 0.2 0.4" \
    --results_md "${results}.md" "${rest[@]}"
