#!/usr/bin/env bash
# The stages of pretraining a HuBERT. A recipe's run.sh holds choices only and calls this from its own directory.
#   1 recordings   2 audio store   3 targets and training, iteration by iteration   4 curves, agreement with phones
#   5 the model with its card   6 what it is worth downstream
# shellcheck disable=SC2034  # most options are read by name
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../router1/options.sh"

# Stages
stage=1                   # first stage
stop_stage=6              # last stage; more is no mistake
python=python3
# Data
local_data=               # python module of local/ that fetches recordings, with its options
data_dirs=                # Kaldi-style folders to pretrain on, of which wav.scp is read
extra_data_dirs=          # further ones, of your own
held_out_dirs=            # folders of recordings to evaluate on: an error if one is among the others
phones=                   # folder of Festival label files of some recordings, to measure clusters against
# Training
config=                   # shape, masking, batches and optimiser: conf/*.yaml
updates="3000 4000"       # of each iteration; as many iterations as numbers
clusters="100 200"        # k-means clusters that each predicts: of MFCCs, then of hidden states of the iteration before
layer=4                   # Transformer layer whose output those are, 1 the lowest
max_hours=0               # hours of training, all iterations together; 0: no limit. Shortens the schedules
ngpu=0                    # 1: on a GPU
card_notes=               # Markdown that ends the model's card
# Downstream
eval_recipe=../../asterisk/asr1
eval_methods="head_only finetune routing"
eval_sparsities=0.2
eval_seeds="0 1 2"
eval_args="--model hubert_mini"   # options of that recipe
eval_dev=dev_en           # its sets
eval_test=test_en
baseline=s3router_hubert_mini   # upstream to compare with, beside random weights and log-mel features
expdir=exp
dumpdir=dump
results_md=
check_corpus=false        # true: say whether the recordings are there or can be fetched, and stop
run_args="$*"

parse_options "${BASH_SOURCE[0]}" "$@"
need_boolean check_corpus
if "${check_corpus}"; then echo "the recordings are there, or stage 1 fetches them"; exit 0; fi
for number in stage stop_stage layer ngpu; do
    [[ ${!number} =~ ^[0-9]+$ ]] || die "--${number} is '${!number}', expected a number"
done
read -ra each_updates <<<"${updates}"
read -ra each_clusters <<<"${clusters}"
[[ "${updates} ${clusters}" =~ ^[0-9\ ]+$ ]] && [ "${#each_updates[@]}" -gt 0 ] && [ "${#each_updates[@]}" -eq "${#each_clusters[@]}" ] ||
    die "--updates is '${updates}' and --clusters '${clusters}', expected as many numbers in both, one an iteration"
[[ ${max_hours} =~ ^[0-9]*\.?[0-9]+$ ]] || die "--max_hours is '${max_hours}', expected a number of hours, 0 for no limit"
for number in "${each_updates[@]}"; do [ "${number}" -ge 1 ] || die "--updates is '${updates}', expected numbers from 1"; done
for number in "${each_clusters[@]}"; do [ "${number}" -ge 2 ] || die "--clusters is '${clusters}', expected numbers from 2"; done
[ -f "${config}" ] || die "--config is '${config}', and there is no such file"
[ -z "${card_notes}" ] || [ -f "${card_notes}" ] || die "--card_notes is '${card_notes}', and there is no such file"
[ -z "${phones}" ] || [ -n "${local_data}" ] || [ -d "${phones}" ] ||
    die "--phones is '${phones}', and there is no such folder; without phone labels: --phones ''"
[ "${ngpu}" -le 1 ] || die "--ngpu is ${ngpu}, expected 0 or 1: pretraining uses one GPU"
if [ "${ngpu}" -eq 1 ]; then
    "${python}" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || die "--ngpu is 1, and PyTorch finds no GPU"
fi
"${python}" -m espnet_s3router.pretraining config "${config}" --layer "${layer}" || exit 2

short=false
audio=()
if awk -v h="${max_hours}" 'BEGIN { exit !(h > 0 && h < 0.5) }'; then
    log "max_hours is below 0.5: half an hour of audio, one short epoch and one seed downstream, to see that it works"
    short=true
    audio=(--hours 0.5)
    rest=("$@")
    dumpdir=$(asked dumpdir "${expdir}/dump") # the whole audio stays where it is
    eval_seeds=$(asked eval_seeds 0)
fi
room() { "${python}" -m espnet_s3router.pretraining "$@"; }
device=cpu
[ "${ngpu}" -eq 0 ] || device=cuda
share() { awk -v h="${max_hours}" -v u="$1" -v all="$((${updates// /+}))" 'BEGIN { print h * u / all }'; } # of the hours, by updates
iterations=()
labels=()
for number in "${!each_updates[@]}"; do
    iterations+=("${expdir}/hubert$((number + 1))")
    labels+=("${expdir}/labels$((number + 1))")
done
runs() { [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ]; }
# shellcheck disable=SC2086  # lists are words on purpose
{
if runs 1 && [ -n "${local_data}" ]; then
    log "Stage 1: recordings"
    words_of "${local_data}"
    "${python}" -m "${words[@]}"
fi
if runs 2; then
    log "Stage 2: audio -> ${dumpdir}"
    room store "${dumpdir}" ${data_dirs} ${extra_data_dirs} ${held_out_dirs:+--held_out ${held_out_dirs}} \
        "${audio[@]}"
fi
if runs 3; then
    from= # the first iteration has MFCCs to go by; the others also begin with the weights of the one before, which saves time
    for number in "${!iterations[@]}"; do
        log "Stage 3: iteration $((number + 1)) of ${#iterations[@]}, ${each_clusters[number]} clusters of ${from:-MFCCs} -> ${iterations[number]}"
        room clusters "${dumpdir}" "${labels[number]}" --clusters "${each_clusters[number]}" ${from:+--model "${from}" --layer "${layer}"} \
            --run "${iterations[number]}" --device "${device}"
        room train --config "${config}" --store "${dumpdir}" --device "${device}" --labels "${labels[number]}" \
            --output "${iterations[number]}" --updates "${each_updates[number]}" --max_hours "$(share "${each_updates[number]}")" \
            ${from:+--init "${from}"}
        from=${iterations[number]}/hf
    done
fi
if runs 4; then
    log "Stage 4: curves and clusters -> ${expdir}/curves.png, ${expdir}/purity.json"
    room curves "${iterations[@]}" --output "${expdir}/curves.png"
    if [ -n "${phones}" ]; then room purity "${dumpdir}" "${phones}" "${labels[@]}" --output "${expdir}/purity.json"; fi
fi
if runs 5; then
    log "Stage 5: the model and its card -> ${expdir}/hubert_mini"
    room card "${expdir}/hubert_mini" --iterations "${iterations[@]}" --store "${dumpdir}" \
        --data_dirs ${data_dirs} ${extra_data_dirs} ${card_notes:+--notes "${card_notes}"}
fi
if runs 6; then
    [ -f "${expdir}/hubert_mini/model.safetensors" ] || die "there is no model in ${expdir}/hubert_mini: run stages 1 to 5 first"
    # points are kept by name, and another model may have been trained into the same folder
    downstream=$(realpath -m "${expdir}/downstream")
    weights=$(sha256sum <"${expdir}/hubert_mini/model.safetensors")
    [ "$(cat "${downstream}/.weights" 2>/dev/null || echo "${weights}")" = "${weights}" ] ||
        die "${expdir}/downstream is about another model than ${expdir}/hubert_mini: remove it, or keep both with --expdir"
    mkdir -p "${downstream}"
    echo "${weights}" >"${downstream}/.weights"
    log "Stage 6: ${eval_recipe##*../} on the new model, on ${baseline}, on random weights and on log-mel features"
    room export "${config}" "${expdir}/random"
    room export "${config}" "${expdir}/log_mel" --log_mel
    models=$(realpath -m "${expdir}")
    changes=
    if "${short}"; then changes="max_epoch=1 num_iters_per_epoch=8"; fi
    evaluate() { # NAME METHODS "KEY=VALUE …", then options that choose the upstream
        "${eval_recipe}/run.sh" --expdir "${downstream}" --asr_tag "$1" --methods "$2" --asr_args "$3 ${changes}" \
            --sparsities "${eval_sparsities}" --seeds "${eval_seeds}" --ngpu "${ngpu}" --python "${python}" "${@:4}" ${eval_args}
    }
    evaluate new "${eval_methods}" "" --upstream hf_hubert_custom --upstream_path "${models}/hubert_mini"
    evaluate baseline "${eval_methods}" "" --upstream "${baseline}" --skip_data_prep true
    evaluate random "${eval_methods}" "" --upstream hf_hubert_custom --upstream_path "${models}/random" --skip_data_prep true
    # log-mel features: a Transformer of the same shape on them, all of it trained, its convolutions too
    evaluate log_mel finetune "frontend_conf.mask_conf.train_cnn=true frontend_conf.cache_frozen=0" \
        --upstream hf_whisper_custom --upstream_path "${models}/log_mel" --skip_data_prep true
    "${python}" -m espnet_s3router.results.pages.upstreams --expdir "${downstream}" --dev "${eval_dev}" --test "${eval_test}" \
        --upstream hf_hubert_custom/hubert_mini --dump "${eval_recipe}/dump/raw" --command "${run_command:-ssl.sh ${run_args}}" \
        ${results_md:+--results_md "${results_md}" --pretraining "${expdir}"}
fi
}
