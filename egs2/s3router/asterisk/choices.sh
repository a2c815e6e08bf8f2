# shellcheck shell=bash disable=SC2034,SC2154
# Choices that the recipes on the Asterisk recordings share; sourced by their run.sh after the options lang and model are set.
case ${lang} in en | es | fr | it | ru) ;; *) die "--lang is '${lang}', expected en, es, fr, it or ru" ;; esac
[ "${ASTERISK}" = downloads ] || [ -d "${ASTERISK}" ] || die "ASTERISK is '${ASTERISK}', and there is no such folder in ${PWD}"
. "$(dirname "${BASH_SOURCE[0]}")/upstream.sh"
data="local.asterisk --lang ${lang} --minutes 10 --data_dir data"
if [ "${ASTERISK}" != downloads ]; then data+=" --sounds_dir $(printf %q "${ASTERISK}")"; else data+=" --download_dir downloads/asterisk"; fi
if [ "${lang}" != en ]; then
    tag+=${tag:+_}${lang}
    results+=_${lang}
fi
# the user's own data: experiments, tokens and page are kept apart from those of the recordings
trained=$(requested train_set "train_10min_${lang}")
label=${lang}
if [ "${trained}" != "train_10min_${lang}" ]; then
    label=${trained}
    tag+=${tag:+_}${trained}
    results+=_${trained}
fi
corpus=(--lang "${label}" --local_data "${data}" --local_upstream "${upstream}" --asr_tag "${tag}"
    --train_set "train_10min_${lang}" --valid_set "dev_${lang}" --test_sets "dev_${lang} test_${lang}"
    --max_wav_duration 35)
# stage 1 lists the texts of its own test set that do not occur in its own training set
case " ${trained} : $(requested test_sets "test_${lang}") " in
    " train_10min_${lang} :"*" test_${lang} "*) corpus+=(--unseen "data/test_${lang}/utt_unseen") ;;
esac
