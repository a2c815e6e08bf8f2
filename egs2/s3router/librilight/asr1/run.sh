#!/usr/bin/env bash
# LibriSpeech with the labelled 10 minutes, 1 hour and 10 hours of Libri-Light, or 100 hours.
#   ./run.sh --split 10min --subset 0 --model wav2vec2_base --ngpu 1 --parallel 1

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option split 10min "labelled data: 10min, 1h, 10h or 100h"
option subset 0 "0 to 5: one of the six 10-minute sets"
option model wav2vec2_base "file of conf/upstream"
own_options "$@"
. ../../librispeech/choices.sh

../../TEMPLATE/router1/router.sh --recipe librilight/asr1 "${corpus[@]}" --methods_config conf/methods.yaml \
    --methods "finetune routing" --sparsities 0.08 "${rest[@]}"
