#!/usr/bin/env bash
# SNIPS smart lights from transcripts alone: which connections of a BERT or XLNet does an intent need?
#   SNIPS=DIR/smart-lights-en-close-field ./run.sh --model bert-base-uncased      a name of a hub, or a folder
#   ./run.sh --methods "finetune routing parp omp imp" --sparsities "0.1 0.5 0.8"

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option speakers false "dev and test are whole speakers, instead of ESPnet's split"
own_options "$@"
need_corpus SNIPS

data="local.intents.snips --root $(printf %q "${SNIPS}") --data_dir data" sets=
if "${speakers}"; then data+=" --split speakers" sets=_speakers; fi
../../TEMPLATE/text1/text.sh --recipe snips/text1 --local_data "${data}" \
    --train_set "train${sets}" --valid_set "dev${sets}" --test_sets "dev${sets} test${sets}" "${rest[@]}"
