#!/usr/bin/env bash
# Mboshi as a sixth route beside the five languages of asterisk/multi1, on the same base.
#   MBOSHI=DIR ./run.sh    trains what is missing, gathers the routes in exp/routes, and finds the language of every test recording
#   s3router transcribe --bank exp/routes --lang auto a.wav    reads them

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option langs "en es fr it ru" "languages of asterisk/multi1"
option minutes 10 "10 or 60: minutes of Mboshi"
option model whisper_tiny_en "file of conf/upstream: whisper_tiny_en or hubert_mini"
own_options "$@"

read -ra languages <<<"${langs}"
[ "${#languages[@]}" -ge 1 ] || die "--langs is empty, expected languages of asterisk/multi1 such as \"en es\""
check_languages mboshi "${languages[@]}"
routes=exp/routes base=$(basename "$(requested upstream_path "$(requested upstream "${model}")")")
[ "${base}" = whisper_tiny_en ] || routes+=_${base} # all of them on one base
routes=$(requested routes_dir "${routes}")
routing=(--model "${model}" --methods routing "${rest[@]}" --routes_dir "$(realpath -m "${routes}")")
../asr1/run.sh --minutes "${minutes}" --sparsities 0.08 --stop_stage 17 --route_language mboshi "${routing[@]}"
../../asterisk/multi1/run.sh --langs "${langs}" "${routing[@]}"
[ "$(requested check_corpus false)" = false ] && [ "$(requested stop_stage 17)" -ge 17 ] || exit 0
tests=(mboshi=../asr1/dump/raw/test_mboshi)
for lang in "${languages[@]}"; do tests+=("${lang}=../../asterisk/multi1/dump/raw/test_${lang}"); done
log "language of every test recording -> exp/identified.json"
same=() # one voice reads English and Spanish
if [[ " ${langs} " = *" en "* && " ${langs} " = *" es "* ]]; then same=(--same "en,es"); fi
mkdir -p exp
"$(requested python python3)" -m espnet_s3router.cli.main identify --bank "${routes}" "${same[@]}" --json "${tests[@]}" >exp/identified.json.new
mv exp/identified.json.new exp/identified.json
