#!/usr/bin/env bash
# Fluent Speech Commands, 31 intents: masks against weights, adapters and pruning.
#   FSC=DIR/fluent_speech_commands_dataset ./run.sh --ngpu 1 --parallel 1      the intent alone, in SUPERB's way
#   ./run.sh --target transcript      the intent, then the transcript, by CTC over words; --token_type char or bpe too
#   ./run.sh --target transformer     the same by ESPnet's SLU task with a small Transformer

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option model hubert_base "file of conf/upstream"
option split 10h "file of conf/split: the schedule of training"
option target intent "file of conf/target: what is recognised, see above"
own_options "$@"
need_file "conf/upstream/${model}.yaml"
need_file "conf/split/${split}.yaml"
need_corpus FSC
. ../../TEMPLATE/router1/slu.sh

../../TEMPLATE/router1/router.sh --recipe fsc/slu1 --token_type word "${choices[@]}" --lang fsc \
    --local_data "local.intents.fsc --root $(printf %q "${FSC}") --data_dir data" \
    --train_set train --valid_set valid --test_sets "valid test" --asr_tag "${model}_${target}" \
    --asr_config "conf/train_asr.yaml conf/split/${split}.yaml conf/target/${target}.yaml conf/upstream/${model}.yaml" \
    --methods_config conf/methods.yaml --methods "head_only finetune lora routing" --sparsities "0.04 0.08 0.12" "${rest[@]}"
