# shellcheck shell=bash disable=SC2034,SC2154
# The upstream of a recipe that trains as asterisk/asr1 does; sourced by its run.sh after the option model is set.
methods=conf/methods.yaml
other=$(requested upstream "") # an upstream without a file in conf/upstream
if [ -n "${other}" ]; then
    file=
    model=$(basename "$(requested upstream_path "${other}")")
else
    file=conf/upstream/${model}.yaml
    need_file "${file}"
fi
[ ! -f "conf/methods/${model}.yaml" ] || methods+=" conf/methods/${model}.yaml" # learning rates of this upstream
tag=${model}
results=RESULTS_${model}
upstream=
case ${other}:${model} in
    :hubert_mini) tag= ;; # experiments on the shipped upstream have no tag
    :whisper_tiny_en) results=RESULTS upstream="local.whisper_tiny_en --download_dir downloads" ;;
esac
