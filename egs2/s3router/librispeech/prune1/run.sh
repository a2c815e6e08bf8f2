#!/usr/bin/env bash
# Pruning methods against sparsity on LibriSpeech with 10 minutes, 1, 10 or 100 hours of labels, all from one dense model per
# seed (stage 16).
#   ./run.sh --split 10min --subset 0 --model wav2vec2_base --ngpu 1 --parallel 1
# Four GPUs on this machine: --parallel 4, one run on each. A cluster: --cluster slurm --cluster_config FILE, see
# TEMPLATE/router1/slurm.yaml.

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option split 10min "labelled data: 10min, 1h, 10h or 100h"
option subset 0 "0 to 5: one of the six 10-minute sets"
option model wav2vec2_base "file of conf/upstream"
own_options "$@"
. ../choices.sh

# stage 16 trains its dense models itself
../../TEMPLATE/router1/router.sh --recipe librispeech/prune1 "${corpus[@]}" \
    --methods_config "conf/methods.yaml conf/interval/${split}.yaml" --stop_stage 16 --skip_train true --skip_eval true \
    --prune_methods "routing_prune parp parp_p omp imp mpi rp" --sparsities "0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8" \
    --control_method omp_continued "${rest[@]}"
