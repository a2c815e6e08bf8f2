#!/usr/bin/env bash
# HJ-Pruning on SLURP, the intent and the transcript by CTC: smaller and faster models, from one dense model per seed (stage 16).
#   SLURP=DIR/slurp ./run.sh --ngpu 1 --parallel 1

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option model hubert_base "file of conf/upstream"
option split 10h "file of conf/split: the schedule of training"
own_options "$@"
need_file "conf/upstream/${model}.yaml"
need_file "conf/split/${split}.yaml"
need_corpus SLURP
target=transcript
. ../../TEMPLATE/router1/slu.sh

# stage 16 trains its dense models itself
../../TEMPLATE/router1/router.sh --recipe slurp/hj1 --token_type bpe --nbpe 500 "${choices[@]}" --lang slurp \
    --local_data "local.intents.slurp --root $(printf %q "${SLURP}") --data_dir data" \
    --train_set train --valid_set devel --test_sets "devel test" --asr_tag "${model}_${target}" \
    --asr_config "conf/train_asr.yaml conf/split/${split}.yaml conf/target/${target}.yaml conf/upstream/${model}.yaml" \
    --methods_config conf/rows.yaml --stop_stage 16 --skip_train true --skip_eval true \
    --prune_methods "hj_size hj_macs hj_sep_macs" --sparsities "0.1 0.2 0.3 0.4 0.5 0.6 0.7" \
    --control_method omp_continued "${rest[@]}"
