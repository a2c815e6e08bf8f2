#!/usr/bin/env bash
# HJ-Pruning on ten minutes of Mboshi: smaller and faster models, from the same dense models (stage 16). As asterisk/hj1.
#   MBOSHI=DIR ./run.sh            three variants and two controls, 10 to 70 % less, three seeds; writes RESULTS.md
#   MBOSHI=DIR ./run.sh --quick    one variant, two targets, one seed, 60 updates; writes into exp/quick
#   --minutes 60                   one hour instead of ten minutes

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option minutes 10 "10 or 60: minutes of training speech"
option quick false "a small grid, see above"
option model whisper_tiny_en "file of conf/upstream: whisper_tiny_en or hubert_mini"
own_options "$@"
. ../choices.sh
. ../../asterisk/hj.sh
[ "${minutes}" = 10 ] || methods+=" conf/methods/${minutes}min.yaml"
hj_sweep mboshi/hj1 "conf/train_asr.yaml ${file} ${split}" "${rest[@]}"
