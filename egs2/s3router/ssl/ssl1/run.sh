#!/usr/bin/env bash
# Pretrain the small HuBERT that this project ships, from 8.4 hours of free recordings in 13 languages.
#   ./run.sh                     about two and a half hours on one core, then the comparison downstream
#   ./run.sh --max_hours 0.05 --expdir exp/short    every stage in minutes, to see that it works

cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
record_command "$@"

corpora="festvox_ru tuxpaint fillets_cs fillets_nl train_en train_es train_fr train_it train_ru"
held_out="dev_en test_en dev_es test_es dev_fr test_fr dev_it test_it dev_ru test_ru"
phones=downloads/festvox-ru/usr/share/festival/voices/russian/msu_ru_nsh_clunits/lab

exec ../../TEMPLATE/ssl1/ssl.sh --config conf/hubert_mini.yaml --card_notes conf/card.md --local_data local.recordings \
    --updates "3000 4000 13000" --clusters "100 200 300" \
    --data_dirs "data/${corpora// / data/}" --held_out_dirs "data/${held_out// / data/}" --phones "${phones}" "$@"
