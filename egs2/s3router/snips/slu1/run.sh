#!/usr/bin/env bash
# SNIPS smart lights, 1,660 commands: masks against weights, adapters and pruning.
#   SNIPS=DIR/smart-lights-en-close-field ./run.sh --ngpu 1 --parallel 1      the intent alone, in SUPERB's way
#   ./run.sh --speakers               dev and test are whole speakers, instead of ESPnet's split
#   ./run.sh --target transcript      the intent, then the transcript, by CTC over characters
#   ./run.sh --target transformer     the same by ESPnet's SLU task with a small Transformer
#   ./run.sh --target transcript --entities      slots between them

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option model hubert_base "file of conf/upstream"
option split 1h "file of conf/split: the schedule of training"
option target intent "file of conf/target: what is recognised, see above"
option speakers false "whole speakers in dev and test, see above"
option entities false "slots between intent and transcript, see above"
own_options "$@"
need_file "conf/upstream/${model}.yaml"
need_file "conf/split/${split}.yaml"
need_corpus SNIPS
. ../../TEMPLATE/router1/slu.sh

data="local.intents.snips --root $(printf %q "${SNIPS}") --data_dir data" tag=${model}_${target} sets=
if "${speakers}"; then data+=" --split speakers" tag+=_speakers sets=_speakers; fi
if "${entities}"; then
    data+=" --entities" tag+=_entities sets+=_entities
    choices+=(--nlsyms_txt conf/entity_symbols.txt)
fi
../../TEMPLATE/router1/router.sh --recipe snips/slu1 --token_type char "${choices[@]}" --lang "snips${sets}" --local_data "${data}" \
    --train_set "train${sets}" --valid_set "dev${sets}" --test_sets "dev${sets} test${sets}" --asr_tag "${tag}" \
    --asr_config "conf/train_asr.yaml conf/split/${split}.yaml conf/target/${target}.yaml conf/upstream/${model}.yaml" \
    --methods_config conf/methods.yaml --methods "head_only finetune lora routing" --sparsities "0.04 0.08 0.12" "${rest[@]}"
