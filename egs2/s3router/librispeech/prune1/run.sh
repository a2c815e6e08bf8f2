#!/usr/bin/env bash
# Pruning methods against sparsity on LibriSpeech with 10 minutes, 1, 10 or 100 hours of labels, all from one dense model a
# seed (stage 16).
#   ./run.sh --split 10min --subset 0 --model wav2vec2_base --ngpu 1
# --split 10min|1h|10h|100h; --subset 0..5: which of the six 10-minute sets; --model: a file of conf/upstream.
# Several GPUs: --parallel 4 here, or --cluster slurm --cluster_config conf/slurm.yaml (see TEMPLATE/router1/slurm.yaml).
set -euo pipefail
cd "$(dirname "$0")"
. ../../TEMPLATE/router1/path.sh
. ../../TEMPLATE/router1/cmd.sh
. ../../TEMPLATE/router1/db.sh
export train_cmd

split=10min
subset=0
model=wav2vec2_base
rest=()
while [ $# -gt 0 ]; do
    case $1 in
        --split | --subset | --model)
            [ $# -ge 2 ] || { echo "error: option $1 needs a value" >&2; exit 2; }
            declare "${1#--}=$2"
            shift 2
            ;;
        *) rest+=("$1"); shift ;;
    esac
done
for file in "conf/split/${split}.yaml" "conf/upstream/${model}.yaml"; do
    [ -f "${file}" ] || { echo "error: no ${file}; there are $(cd "$(dirname "${file}")" && echo ./*.yaml)" >&2; exit 2; }
done
if [ -z "${LIBRISPEECH}" ] || { [ "${split}" != 100h ] && [ -z "${LIBRILIGHT_LIMITED}" ]; }; then
    echo "error: set LIBRISPEECH and LIBRILIGHT_LIMITED in egs2/s3router/TEMPLATE/router1/db.sh or in the environment; egs2/s3router/librilight/asr1/README.md says how to get them" >&2
    exit 2
fi
train=train_${split}
[ "${split}" != 10min ] || [ "${subset}" = 0 ] || train+=_subset${subset}
data="local.librispeech --librispeech ${LIBRISPEECH} --data_dir data --split ${split} --subset ${subset}"
[ -z "${LIBRILIGHT_LIMITED}" ] || data+=" --librilight ${LIBRILIGHT_LIMITED}"

# the upstream's file comes last: HuBERT's masking is its own. Stage 16 trains its dense models itself.
../../TEMPLATE/router1/router.sh \
    --recipe librispeech/prune1 --lang en --asr_tag "${split}_${model}" --local_data "${data}" \
    --train_set "${train}" --valid_set dev_other --test_sets "dev_other test_clean test_other" \
    --asr_config "conf/train_asr.yaml conf/split/${split}.yaml conf/upstream/${model}.yaml" \
    --methods_config "conf/methods.yaml conf/interval/${split}.yaml" --asr_stats_dir "exp/asr_stats_raw_${train}" \
    --stop_stage 16 --skip_train true --skip_eval true \
    --prune_methods "routing_prune parp parp_p omp imp mpi rp" --sparsities "0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8" "${rest[@]}"
