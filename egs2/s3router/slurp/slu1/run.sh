#!/usr/bin/env bash
# SLURP, requests to a home assistant: intents, and with them entities and transcripts.
#   SLURP=DIR/slurp ./run.sh --ngpu 1 --parallel 1      the intent, then the transcript, by CTC over pieces of words
#   ./run.sh --entities               entities between them, scored by SLU-F1
#   ./run.sh --target intent          the intent alone, in SUPERB's way
#   ./run.sh --target transformer     the intent, then the transcript, by ESPnet's SLU task with a small Transformer
#   ./run.sh --target text_model      the same, with a masked BERT between encoder and decoder
#   ./run.sh --synthetic              adds the synthetic speech of the corpus to training

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option model hubert_base "file of conf/upstream"
option split 10h "file of conf/split: the schedule of training"
option target transcript "file of conf/target: what is recognised, see above"
option entities false "entities between intent and transcript, see above"
option synthetic false "more training data, see above"
own_options "$@"
need_file "conf/upstream/${model}.yaml"
need_file "conf/split/${split}.yaml"
need_corpus SLURP
. ../../TEMPLATE/router1/slu.sh

data="local.intents.slurp --root $(printf %q "${SLURP}") --data_dir data" tag=${model}_${target} train=train sets=
if "${synthetic}"; then data+=" --synthetic" tag+=_synthetic train+=_synthetic; fi
if "${entities}"; then
    data+=" --entities" tag+=_entities sets=_entities
    choices+=(--nlsyms_txt conf/entity_symbols.txt)
fi
../../TEMPLATE/router1/router.sh --recipe slurp/slu1 --token_type bpe --nbpe 500 "${choices[@]}" --lang "slurp${train#train}${sets}" --local_data "${data}" \
    --train_set "${train}${sets}" --valid_set "devel${sets}" --test_sets "devel${sets} test${sets}" --asr_tag "${tag}" \
    --asr_config "conf/train_asr.yaml conf/split/${split}.yaml conf/target/${target}.yaml conf/upstream/${model}.yaml" \
    --methods_config conf/methods.yaml --methods "head_only finetune lora routing" --sparsities "0.04 0.08 0.12" "${rest[@]}"
