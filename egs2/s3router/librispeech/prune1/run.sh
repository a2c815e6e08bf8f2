#!/usr/bin/env bash
# Pruning methods against sparsity on LibriSpeech with 10 minutes, 1, 10 or 100 hours of labels, all from one dense model a
# seed (stage 16).
#   ./run.sh --split 10min --subset 0 --model wav2vec2_base --ngpu 1 --parallel 1
# --split 10min|1h|10h|100h; --subset 0..5: which of the six 10-minute sets; --model: a file of conf/upstream.
# Four GPUs here: --parallel 4, a point on each. A cluster: --cluster slurm --cluster_config FILE (TEMPLATE/router1/slurm.yaml).
set -euo pipefail
cd "$(dirname "$0")"
. ../../TEMPLATE/router1/options.sh
. ../../TEMPLATE/router1/path.sh
. ../../TEMPLATE/router1/cmd.sh
. ../../TEMPLATE/router1/db.sh
export train_cmd

split=10min
subset=0
model=wav2vec2_base
own_options "split subset model" "$@"
. ../../librilight/choices.sh

# stage 16 trains its dense models itself
../../TEMPLATE/router1/router.sh --recipe librispeech/prune1 "${corpus[@]}" \
    --methods_config "conf/methods.yaml conf/interval/${split}.yaml" --stop_stage 16 --skip_train true --skip_eval true \
    --prune_methods "routing_prune parp parp_p omp imp mpi rp" --sparsities "0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8" \
    --control_method omp_continued "${rest[@]}"
