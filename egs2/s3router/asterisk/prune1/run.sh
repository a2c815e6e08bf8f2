#!/usr/bin/env bash
# Pruning methods against sparsity on ten minutes of recorded English prompts, all from the same dense models (stage 16).
#   ./run.sh            seven methods, five sparsities, three seeds: 3 dense models and 105 points; writes RESULTS.md
#   ./run.sh --quick    four methods, two sparsities, one seed, 100 updates: a quarter of an hour; writes into exp/quick
# --model hubert_mini|whisper_tiny_en: a file of conf/upstream
# --skip_committed true: points whose rows are in results/*.tsv count as finished
set -euo pipefail
cd "$(dirname "$0")"
. ../../TEMPLATE/router1/path.sh
. ../../TEMPLATE/router1/cmd.sh
. ../../TEMPLATE/router1/db.sh
export train_cmd

lang=en
model=hubert_mini
quick=false
rest=()
while [ $# -gt 0 ]; do
    case $1 in
        --quick) quick=true; shift ;;
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
mkdir -p ../asr1/downloads # what downloads points to
data="local.asterisk --lang ${lang} --minutes 10 --data_dir data"
if [ "${ASTERISK}" != downloads ]; then data+=" --sounds_dir ${ASTERISK}"; else data+=" --download_dir downloads/asterisk"; fi
tag=
upstream=
if [ "${model}" != hubert_mini ]; then tag=${model}; fi # points of the shipped upstream have no tag
if [ "${model}" = whisper_tiny_en ]; then upstream="local.whisper_tiny_en --download_dir downloads"; fi

choices=(--asr_config "conf/train_asr.yaml ${file}" --methods_config conf/methods.yaml --results_md RESULTS.md
    --prune_methods "routing_prune parp parp_p omp imp mpi rp" --sparsities "0.1 0.3 0.5 0.7 0.8" --seeds "0 1 2")
if "${quick}"; then
    choices=(--asr_config "conf/train_asr.yaml ${file} conf/quick/train_asr.yaml" --expdir exp/quick
        --methods_config "conf/methods.yaml conf/quick/methods.yaml" --results_md exp/quick/RESULTS.md
        --prune_methods "routing_prune parp omp imp" --sparsities "0.5 0.8" --seeds 0)
fi
# stage 16 trains its dense models itself
../../TEMPLATE/router1/router.sh \
    --recipe asterisk/prune1 --lang "${lang}" --local_data "${data}" --local_upstream "${upstream}" --asr_tag "${tag}" \
    --train_set "train_10min_${lang}" --valid_set "dev_${lang}" --test_sets "dev_${lang} test_${lang}" \
    --max_wav_duration 35 --unseen "data/test_${lang}/utt_unseen" \
    --stop_stage 16 --skip_train true --skip_eval true "${choices[@]}" "${rest[@]}"
