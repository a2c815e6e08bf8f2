#!/usr/bin/env bash
# HJ-Pruning on ten minutes of recorded English prompts: smaller and faster models, from the same dense models (stage 16).
#   ./run.sh            three variants and two controls, 10 to 70 % less, three seeds: 3 dense models and 108 runs; writes RESULTS.md
#   ./run.sh --quick    one variant, two targets, one seed, 60 updates; writes into exp/quick
# Every run leaves its smaller model in exp/<run>/shrunk, compared and timed. It decodes and finetunes like any other.

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option lang en "en, es, fr, it or ru: language of the prompts"
option quick false "a small grid, see above"
option model whisper_tiny_en "file of conf/upstream: whisper_tiny_en or hubert_mini"
own_options "$@"
. ../choices.sh
. ../hj.sh
mkdir -p ../asr1/downloads # the target of the link downloads
hj_sweep asterisk/hj1 "conf/train_asr.yaml ${file}" "${rest[@]}"
