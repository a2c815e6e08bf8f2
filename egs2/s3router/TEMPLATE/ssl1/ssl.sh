#!/usr/bin/env bash
# The stages of pretraining a HuBERT. A recipe's run.sh holds choices only and calls this from its own directory.
#   1 recordings   2 audio store   3 MFCC clusters   4 first iteration   5 clusters of its hidden states
#   6 second iteration   7 curves, agreement with phones   8 the model with its card   9 what it is worth downstream
# shellcheck disable=SC2034  # most options are read by name
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../router1/options.sh"

# Stages
stage=1                   # first stage
stop_stage=9              # last stage; more is no mistake
python=python3
# Data
local_data=               # python module of local/ that fetches recordings, with its options
data_dirs=                # Kaldi-style folders to pretrain on, of which wav.scp is read
extra_data_dirs=          # further ones, of your own
held_out_dirs=            # folders of recordings to evaluate on: an error if one is among the others
phones=                   # folder of Festival label files of some recordings, to measure clusters against
# Training
config=                   # shape, masking, batches and optimiser: conf/*.yaml
updates1=3000             # updates of the first iteration
updates2=4000             # updates of the second
clusters1=100             # k-means clusters of MFCCs
clusters2=200             # of hidden states
layer=4                   # Transformer layer of the first iteration whose output is clustered
max_hours=0               # hours of training, both iterations together; 0: no limit. Shortens the schedules
ngpu=0
card_notes=               # Markdown that ends the model's card
# Downstream
eval_recipe=../../asterisk/asr1
eval_methods="head_only finetune routing"
eval_sparsities=0.2
eval_seeds="0 1 2"
eval_args="--model hubert_mini"   # options of that recipe
baseline=s3router_hubert_mini   # upstream to compare with
expdir=exp
dumpdir=dump
results_md=

run_args="$*"

parse_options "${BASH_SOURCE[0]}" "$@"
for number in stage stop_stage updates1 updates2 clusters1 clusters2 layer ngpu; do
    [[ ${!number} =~ ^[0-9]+$ ]] || die "--${number} is '${!number}', expected a number"
done
[[ ${max_hours} =~ ^[0-9]*\.?[0-9]+$ ]] || die "--max_hours is '${max_hours}', expected a number of hours, 0 for no limit"
[ -f "${config}" ] || die "--config is '${config}', and there is no such file"

room="${python} -m espnet_s3router.pretraining"
device=cpu
[ "${ngpu}" -eq 0 ] || device=cuda
share() { awk -v h="${max_hours}" -v p="$1" 'BEGIN { print h * p }'; } # a third of the hours goes to the first iteration
runs() { [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ]; }
# shellcheck disable=SC2086  # lists are words on purpose
{
if runs 1 && [ -n "${local_data}" ]; then
    log "Stage 1: recordings"
    ${python} -m ${local_data}
fi
if runs 2; then
    log "Stage 2: audio -> ${dumpdir}"
    ${room}.store "${dumpdir}" ${data_dirs} ${extra_data_dirs} ${held_out_dirs:+--held_out ${held_out_dirs}}
fi
if runs 3; then
    log "Stage 3: ${clusters1} clusters of MFCCs -> ${expdir}/labels1"
    ${room}.clusters "${dumpdir}" "${expdir}/labels1" --clusters "${clusters1}"
fi
train="${room}.train --config ${config} --store ${dumpdir} --device ${device}"
if runs 4; then
    log "Stage 4: first iteration -> ${expdir}/hubert1"
    ${train} --labels "${expdir}/labels1" --output "${expdir}/hubert1" --updates "${updates1}" --max_hours "$(share 0.33)"
fi
if runs 5; then
    log "Stage 5: ${clusters2} clusters of the output of layer ${layer} -> ${expdir}/labels2"
    ${room}.clusters "${dumpdir}" "${expdir}/labels2" --clusters "${clusters2}" --model "${expdir}/hubert1/hf" --layer "${layer}"
fi
if runs 6; then
    log "Stage 6: second iteration, from the weights of the first -> ${expdir}/hubert2"
    ${train} --labels "${expdir}/labels2" --output "${expdir}/hubert2" --updates "${updates2}" --max_hours "$(share 0.67)" \
        --init "${expdir}/hubert1/hf"
fi
if runs 7; then
    log "Stage 7: curves and clusters -> ${expdir}/curves.png, ${expdir}/purity.json"
    ${room}.curves "${expdir}/hubert1" "${expdir}/hubert2" --output "${expdir}/curves.png"
    if [ -n "${phones}" ]; then
        ${room}.purity "${dumpdir}" ${phones} "${expdir}/labels1" "${expdir}/labels2" --output "${expdir}/purity.json"
    fi
fi
if runs 8; then
    log "Stage 8: the model and its card -> ${expdir}/hubert_mini"
    ${room}.card "${expdir}/hubert_mini" --iterations "${expdir}/hubert1" "${expdir}/hubert2" --store "${dumpdir}" \
        --data_dirs ${data_dirs} ${extra_data_dirs} ${card_notes:+--notes "${card_notes}"}
fi
if runs 9; then
    log "Stage 9: ${eval_recipe##*../} on the new model, on ${baseline} and on random weights"
    ${room}.export "${config}" "${expdir}/random"
    here=${PWD}
    short=()
    if awk -v h="${max_hours}" 'BEGIN { exit !(h > 0 && h < 0.5) }'; then
        log "max_hours is below 0.5: one short epoch and one seed downstream, to see that it works"
        eval_seeds=0
        short=(--asr_args "max_epoch=1 num_iters_per_epoch=8")
    fi
    evaluate() { # NAME, then options that choose the upstream
        "${eval_recipe}/run.sh" --expdir "${here}/${expdir}/downstream" --asr_tag "$1" --methods "${eval_methods}" \
            --sparsities "${eval_sparsities}" --seeds "${eval_seeds}" "${@:2}" "${short[@]}" ${eval_args}
    }
    evaluate new --upstream hf_hubert_custom --upstream_path "${here}/${expdir}/hubert_mini"
    evaluate baseline --upstream "${baseline}" --skip_data_prep true
    evaluate random --upstream hf_hubert_custom --upstream_path "${here}/${expdir}/random" --skip_data_prep true
    ${python} -m espnet_s3router.recipe.upstream_table --expdir "${expdir}/downstream" --dev dev_en --test test_en \
        --upstream hubert_mini ${results_md:+--results_md "${results_md}" --pretraining "${expdir}"}
fi
}
