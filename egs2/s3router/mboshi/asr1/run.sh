#!/usr/bin/env bash
# Ten minutes of Mboshi, a Bantu language that the upstream has never heard: masks against weights, adapters and biases.
#   MBOSHI=DIR ./run.sh            one seed: head_only, finetune, LoRA and routing at three sparsities
#   MBOSHI=DIR ./run.sh --full     a grid of learning rates for every method, chosen on dev, then three seeds at the best rate and
#                                  sparsities from .01 to .3; writes RESULTS.md
#   --minutes 60                   one hour instead of ten minutes

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option minutes 10 "10 or 60: minutes of training speech"
option full false "the learning-rate grid and everything after it, see above"
option bytes false "the curve of error against bytes: routes of several sizes, LoRA, adapters, BitFit and BitDelta"
option model whisper_tiny_en "file of conf/upstream: whisper_tiny_en or hubert_mini"
own_options "$@"
one_kind "${full}" "${bytes}"
. ../choices.sh

router() {
    ../../TEMPLATE/router1/router.sh --recipe mboshi/asr1 "${corpus[@]}" --asr_config "conf/train_asr.yaml ${file} ${split}" "$@"
}

if "${bytes}"; then
    . ../../asterisk/bytes.sh
    bytes_curve "${rest[@]}"
    exit
fi
if ! "${full}"; then
    router --methods_config "${methods}" --methods "head_only finetune lora routing" --sparsities "0.01 0.03 0.08" "${rest[@]}"
    exit
fi
# 1. the learning rate of every method that has one, chosen on dev from grids of equal size
rates=exp/grid/rates_${tag}.yaml
router --stop_stage 13 --expdir exp/grid --methods_config "${methods}" --methods "finetune routing lora houlsby bitfit" \
    --lrs "3e-4 1e-3 3e-3" --best_rates "${rates}" "${rest[@]}"
[ "$(requested stop_stage 13)" -ge 13 ] || exit 0
# 2. all methods at those rates, three seeds
all=(--methods_config "${methods} ${rates}" --seeds "0 1 2")
router --stage 10 --stop_stage 13 "${all[@]}" --methods "head_only finetune lora houlsby bitfit" "${rest[@]}"
router --stage 11 --stop_stage 13 "${all[@]}" --methods "routing random magnitude" \
    --sparsities "0.01 0.03 0.08 0.16 0.3" --results_md "${results}.md" "${rest[@]}"
