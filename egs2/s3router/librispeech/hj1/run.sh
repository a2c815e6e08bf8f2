#!/usr/bin/env bash
# HJ-Pruning on LibriSpeech: smaller and faster models, all from one dense model per seed
# (stage 16). The paper has 100 hours of labels.
#   ./run.sh --split 100h --model wav2vec2_base --ngpu 1 --parallel 1

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option split 100h "labelled data: 10min, 1h, 10h or 100h"
option subset 0 "0 to 5: one of the six 10-minute sets"
option model wav2vec2_base "file of conf/upstream"
own_options "$@"
. ../choices.sh

# stage 16 trains its dense models itself
../../TEMPLATE/router1/router.sh --recipe librispeech/hj1 "${corpus[@]}" --methods_config conf/rows.yaml \
    --stop_stage 16 --skip_train true --skip_eval true \
    --prune_methods "hj_size hj_macs hj_sep_macs" --sparsities "0.1 0.2 0.3 0.4 0.5 0.6 0.7" \
    --control_method omp_continued "${rest[@]}"
