#!/usr/bin/env bash
# Which service is speaking? Ten families of recorded prompts in five languages: masks against weights and adapters.
#   ./run.sh                       the intent alone, by pooling and a linear layer; one seed
#   ./run.sh --seeds "0 1 2" --results_md RESULTS.md      three seeds, and the page
#   ./run.sh --target transcript   the intent, then the transcript, by CTC over characters

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option model whisper_tiny_en "file of conf/upstream: whisper_tiny_en or hubert_mini"
option target intent "intent or transcript: what is recognised, see above"
option langs "en es fr it ru" "languages of the prompts, all in one model"
own_options "$@"
mkdir -p ../asr1/downloads # the target of the link downloads
[ "${ASTERISK}" = downloads ] || [ -d "${ASTERISK}" ] || die "ASTERISK is '${ASTERISK}', and there is no such folder in ${PWD}"
. ../upstream.sh

data="local.asterisk --lang ${langs} --families --data_dir data"
if [ "${ASTERISK}" != downloads ]; then data+=" --sounds_dir $(printf %q "${ASTERISK}")"; else data+=" --download_dir downloads/asterisk"; fi
. ../../TEMPLATE/router1/slu.sh
unseen=data/test_families/utt_unseen
[ "$(requested train_set train_families)" = train_families ] || unseen=

../../TEMPLATE/router1/router.sh --recipe asterisk/slu1 --token_type char "${choices[@]}" --lang families --local_data "${data}" --local_upstream "${upstream}" \
    --train_set train_families --valid_set dev_families --test_sets "dev_families test_families" --unseen "${unseen}" \
    --max_wav_duration 35 --asr_config "conf/train_asr.yaml ${file} conf/target/${target}.yaml" --asr_tag "${tag:+${tag}_}${target}" \
    --methods_config "${methods}" --methods "finetune routing lora" --sparsities "0.08" "${rest[@]}"
