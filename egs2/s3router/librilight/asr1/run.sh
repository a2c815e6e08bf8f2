#!/usr/bin/env bash
# LibriSpeech with the labelled 10 minutes, 1 hour and 10 hours of Libri-Light, or 100 hours.
#   ./run.sh --split 10min --subset 0 --model wav2vec2_base --ngpu 1 --parallel 1
# --split 10min|1h|10h|100h; --subset 0..5: which of the six 10-minute sets; --model: a file of conf/upstream.
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
. ../choices.sh

../../TEMPLATE/router1/router.sh --recipe librilight/asr1 "${corpus[@]}" --methods_config conf/methods.yaml \
    --methods "finetune routing" --sparsities 0.08 "${rest[@]}"
