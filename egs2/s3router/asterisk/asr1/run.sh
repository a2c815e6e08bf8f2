#!/usr/bin/env bash
# Ten minutes of recorded English prompts: what do masks alone reach, compared with finetuning the weights?
#   ./run.sh            one seed, three sparsities: the main job
#   ./run.sh --full     three seeds, learning-rate grid, controls, baselines, sparsity sweep; writes RESULTS.md
# --model hubert_mini|whisper_tiny_en: a file of conf/upstream
set -euo pipefail
cd "$(dirname "$0")"
. ../../TEMPLATE/router1/path.sh
. ../../TEMPLATE/router1/cmd.sh
. ../../TEMPLATE/router1/db.sh
export train_cmd

lang=en
full=false
model=hubert_mini
rest=()
while [ $# -gt 0 ]; do
    case $1 in
        --full) full=true; shift ;;
        --model)
            [ $# -ge 2 ] || { echo "error: option $1 needs a value" >&2; exit 2; }
            model=$2
            shift 2
            ;;
        *) rest+=("$1"); shift ;;
    esac
done
file=conf/upstream/${model}.yaml
[ -f "${file}" ] || { echo "error: no ${file}; there are $(cd conf/upstream && echo ./*.yaml)" >&2; exit 2; }
data="local.asterisk --lang ${lang} --minutes 10 --data_dir data"
if [ "${ASTERISK}" != downloads ]; then data+=" --sounds_dir ${ASTERISK}"; else data+=" --download_dir downloads/asterisk"; fi
tag=
upstream=
if [ "${model}" != hubert_mini ]; then tag=${model}; fi # points of the shipped upstream have no tag
if [ "${model}" = whisper_tiny_en ]; then upstream="local.whisper_tiny_en --download_dir downloads"; fi

router() {
    ../../TEMPLATE/router1/router.sh \
        --recipe asterisk/asr1 --lang "${lang}" --local_data "${data}" --local_upstream "${upstream}" --asr_tag "${tag}" \
        --train_set "train_10min_${lang}" --valid_set "dev_${lang}" --test_sets "dev_${lang} test_${lang}" \
        --max_wav_duration 35 --unseen "data/test_${lang}/utt_unseen" \
        --asr_config "conf/train_asr.yaml ${file}" --methods_config conf/methods.yaml "$@"
}

if ! "${full}"; then
    router --methods "head_only finetune routing" --sparsities "0.04 0.08 0.2" "${rest[@]}"
    exit
fi
# 1. the learning rate of every method, on dev, from a grid of equal size
router --stop_stage 13 --expdir exp/grid --methods "finetune routing lora houlsby bitfit" --lrs "1e-4 3e-4 1e-3 3e-3" "${rest[@]}"
# 2. everything, three seeds
seeds="0 1 2"
router --stage 10 --stop_stage 13 --methods "head_only finetune lora houlsby bitfit" --seeds "${seeds}" "${rest[@]}"
router --stage 11 --stop_stage 13 --methods "routing random magnitude" --sparsities "0.04 0.08 0.12 0.2 0.4" \
    --seeds "${seeds}" --results_md RESULTS.md "${rest[@]}"
