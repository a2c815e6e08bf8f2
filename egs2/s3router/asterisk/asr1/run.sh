#!/usr/bin/env bash
# Ten minutes of recorded English prompts: what do masks alone reach, compared with finetuning the weights?
#   ./run.sh            one seed, two sparsities: the main job
#   ./run.sh --full     a grid of learning rates, then three seeds at the best on dev: controls, baselines, more sparsities;
#                       writes RESULTS.md
# --model whisper_tiny_en|hubert_mini: a file of conf/upstream. Whisper tiny.en's encoder (supervised, English) knows enough for
# masks to choose from; hubert_mini, the small self-supervised model that comes with this project, shows what happens where not.
# --lang en|es|fr|it|ru: prompts of another language.
set -euo pipefail
cd "$(dirname "$0")"
. ../../TEMPLATE/router1/options.sh
. ../../TEMPLATE/router1/path.sh
. ../../TEMPLATE/router1/cmd.sh
. ../../TEMPLATE/router1/db.sh
export train_cmd

lang=en
full=false
model=whisper_tiny_en
own_options "full model lang" "$@"
. ../choices.sh

router() {
    ../../TEMPLATE/router1/router.sh --recipe asterisk/asr1 "${corpus[@]}" --asr_config "conf/train_asr.yaml ${file}" "$@"
}

if ! "${full}"; then
    router --methods_config "${methods}" --methods "head_only finetune routing" --sparsities "0.08 0.2" "${rest[@]}"
    exit
fi
# 1. the learning rate of every method, on dev, from a grid of equal size
rates=exp/grid/rates_${tag:-hubert_mini}.yaml
router --stop_stage 13 --expdir exp/grid --methods_config "${methods}" --methods "finetune routing lora houlsby bitfit" \
    --lrs "1e-4 3e-4 1e-3 3e-3" --best_rates "${rates}" "${rest[@]}"
[ "$(asked stop_stage 13)" -ge 13 ] || exit 0
# 2. everything at those rates, three seeds
all=(--methods_config "${methods} ${rates}" --seeds "0 1 2")
router --stage 10 --stop_stage 13 "${all[@]}" --methods "head_only finetune lora houlsby bitfit" "${rest[@]}"
router --stage 11 --stop_stage 13 "${all[@]}" --methods "routing random magnitude" --sparsities "0.04 0.08 0.12 0.2 0.4" \
    --results_md "${results}.md" "${rest[@]}"
