# shellcheck shell=bash disable=SC2034,SC2154
# Choices that the recipes on Mboshi share; sourced by their run.sh after the options minutes and model are set.
split=conf/split/${minutes}min.yaml
need_file "${split}"
. "$(dirname "${BASH_SOURCE[0]}")/../asterisk/upstream.sh"
if [ "$(requested local_data unset)" = unset ]; then
    [ -n "${MBOSHI}" ] || die "set MBOSHI in egs2/s3router/TEMPLATE/router1/db.sh or in the environment; egs2/s3router/mboshi/asr1/README.md says how to get the corpus"
    [ -d "${MBOSHI}" ] || die "MBOSHI is '${MBOSHI}', and there is no such folder in ${PWD}"
fi
tag=${model}_${minutes}min
[ "${minutes}" = 10 ] || results+=_${minutes}min
train=train_${minutes}min_mboshi
label=$(requested train_set "${train}") # the user's own data have tokens, experiments and a page of their own
[ "${label}" = "${train}" ] || { tag+=_${label} results+=_${label}; }
corpus=(--lang "${label}" --local_data "local.mboshi --mboshi $(printf %q "${MBOSHI}") --data_dir data"
    --local_upstream "${upstream}" --asr_tag "${tag}"
    --train_set "${train}" --valid_set dev_mboshi --test_sets "dev_mboshi test_mboshi")
