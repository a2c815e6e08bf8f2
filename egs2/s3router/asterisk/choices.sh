# shellcheck shell=bash disable=SC2034,SC2154
# What the recipes on the Asterisk recordings choose alike, from lang (en es fr it ru) and model; sourced by their run.sh.
file=conf/upstream/${model}.yaml
need_file "${file}"
methods=conf/methods.yaml
[ ! -f "conf/methods/${model}.yaml" ] || methods+=" conf/methods/${model}.yaml" # rates of this upstream
data="local.asterisk --lang ${lang} --minutes 10 --data_dir data"
if [ "${ASTERISK}" != downloads ]; then data+=" --sounds_dir $(printf %q "${ASTERISK}")"; else data+=" --download_dir downloads/asterisk"; fi
tag=
upstream=
if [ "${model}" != hubert_mini ]; then tag=${model}; fi # points of the shipped upstream have no tag
results=RESULTS
if [ "${model}" != whisper_tiny_en ]; then results+=_${model}; fi
if [ "${lang}" != en ]; then
    tag+=${tag:+_}${lang}
    results+=_${lang}
fi
if [ "${model}" = whisper_tiny_en ]; then upstream="local.whisper_tiny_en --download_dir downloads"; fi
corpus=(--lang "${lang}" --local_data "${data}" --local_upstream "${upstream}" --asr_tag "${tag}"
    --train_set "train_10min_${lang}" --valid_set "dev_${lang}" --test_sets "dev_${lang} test_${lang}"
    --max_wav_duration 35)
# the corpus knows which texts of its own test set do not occur in its own training set
case " $(asked train_set "train_10min_${lang}") : $(asked test_sets "test_${lang}") " in
    " train_10min_${lang} :"*" test_${lang} "*) corpus+=(--unseen "data/test_${lang}/utt_unseen") ;;
esac
