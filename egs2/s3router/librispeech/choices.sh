# shellcheck shell=bash disable=SC2034,SC2154
# Choices that the recipes on LibriSpeech share; sourced by their run.sh after the options split, subset and model are set.
need_file "conf/split/${split}.yaml"
need_file "conf/upstream/${model}.yaml"
if [ -z "$(requested local_data unset)" ]; then
    : # the user's own data
elif [ -z "${LIBRISPEECH}" ] || { [ "${split}" != 100h ] && [ -z "${LIBRILIGHT_LIMITED}" ]; }; then
    die "set LIBRISPEECH and LIBRILIGHT_LIMITED in egs2/s3router/TEMPLATE/router1/db.sh or in the environment; egs2/s3router/librilight/asr1/README.md says how to get them"
else
    for folder in "${LIBRISPEECH}" ${LIBRILIGHT_LIMITED:+"${LIBRILIGHT_LIMITED}"}; do
        [ -d "${folder}" ] || die "LIBRISPEECH or LIBRILIGHT_LIMITED is '${folder}', and there is no such folder in ${PWD}"
    done
fi
train=train_${split}
[ "${split}" != 10min ] || [ "${subset}" = 0 ] || train+=_subset${subset}
label=$(requested train_set "${train}") # the user's own data have a label of their own
data="local.librispeech --librispeech $(printf %q "${LIBRISPEECH}") --data_dir data --split ${split} --subset ${subset}"
[ -z "${LIBRILIGHT_LIMITED}" ] || data+=" --librilight $(printf %q "${LIBRILIGHT_LIMITED}")"
# the upstream's file comes last: HuBERT has other values for latent masking
corpus=(--lang "en_${label#train_}" --asr_tag "${label#train_}_${model}" --local_data "${data}"
    --train_set "${train}" --valid_set dev_other --test_sets "dev_other test_clean test_other"
    --asr_config "conf/train_asr.yaml conf/split/${split}.yaml conf/upstream/${model}.yaml")
