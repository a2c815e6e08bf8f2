#!/usr/bin/env bash
# Which service is speaking? Ten families of recorded prompts in five languages: masks against weights and adapters.
#   ./run.sh                       the intent alone, by pooling and a linear layer; one seed
#   ./run.sh --seeds "0 1 2" --results_md RESULTS.md      three seeds, and the page
#   ./run.sh --target transcript   the intent, then the transcript, by CTC over characters
#   ./run.sh --forgetting          one task after the other, in exp/tasks. The tasks are transcripts of asterisk/asr1 and intents.
#   ./run.sh --transfer            masks of one of these tasks on the other one, on the same page.
#   ./run.sh --joint               both tasks on the same recordings, in one run.

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option model whisper_tiny_en "file of conf/upstream: whisper_tiny_en or hubert_mini"
option target intent "intent or transcript: what is recognised, see above"
option langs "en es fr it ru" "languages of the prompts, all in one model"
option forgetting false "what is forgotten of transcripts after intents, and the other way round, see above"
option transfer false "masks of transcripts on intents, and the other way round, see above"
option transfer_kinds "frozen adapted" "with --transfer: frozen masks with a new head, masks that go on learning, or both"
option asr_exp ../asr1/exp "with --forgetting and --transfer: experiments on transcripts; missing runs are trained there"
option joint false "both tasks in one run, see above"
option tasks "asr slu" "with --joint: asr (transcripts), slu (intents) or both"
own_options "$@"
mkdir -p ../asr1/downloads # the target of the link downloads
[ "${ASTERISK}" = downloads ] || [ -d "${ASTERISK}" ] || die "ASTERISK is '${ASTERISK}', and there is no such folder in ${PWD}"
. ../upstream.sh

data="local.asterisk --lang ${langs} --families --data_dir data"
if [ "${ASTERISK}" != downloads ]; then data+=" --sounds_dir $(printf %q "${ASTERISK}")"; else data+=" --download_dir downloads/asterisk"; fi
. ../../TEMPLATE/router1/slu.sh
. ../tasks.sh
unseen=data/test_families/utt_unseen
[ "$(requested train_set train_families)" = train_families ] || unseen=

common=(--recipe asterisk/slu1 --token_type char --lang families --local_data "${data}" --local_upstream "${upstream}"
    --train_set train_families --valid_set dev_families --test_sets "dev_families test_families" --unseen "${unseen}"
    --max_wav_duration 35 --methods_config "${methods}" --sparsities "0.08")
intents=("${common[@]}" "${choices[@]}" --asr_config "conf/train_asr.yaml ${file} conf/target/${target}.yaml"
    --asr_tag "${tag:+${tag}_}${target}" --methods "finetune routing lora")
if "${joint}"; then
    both_tasks_in_one_run
elif "${forgetting}" || "${transfer}"; then
    one_task_after_the_other
else
    ../../TEMPLATE/router1/router.sh "${intents[@]}" "${rest[@]}"
fi
