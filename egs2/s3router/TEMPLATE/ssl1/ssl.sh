#!/usr/bin/env bash
# The stages of pretraining a HuBERT. A recipe's run.sh holds choices only and calls this from its own directory.
# espnet_s3router/pretraining/options.py declares the options.
# shellcheck disable=SC2154  # script_options sets the variables
. "$(dirname "${BASH_SOURCE[0]}")/../router1/common.sh"

export run_command=${run_command:-ssl.sh $*}
rest=("$@")
script_options espnet_s3router.pretraining.options
room() { "${python}" -m espnet_s3router.pretraining "$@"; }
runs() { [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ]; }
if [ "${ngpu}" -eq 1 ]; then
    "${python}" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || die "--ngpu is 1, and PyTorch finds no GPU"
fi
room config "${config}" --layer "${layer}" || exit 2
audio=()
changes=
if "${short}"; then
    log "max_hours is below 0.5: half an hour of audio, one short epoch and one seed downstream, to see that it works"
    audio=(--hours 0.5)
    changes="max_epoch=1 num_iters_per_epoch=8"
fi

{ # bash reads all of this before it runs any of it
if runs 1 && [ "${#local_data[@]}" -gt 0 ]; then
    log "Stage 1: recordings"
    "${python}" -m "${local_data[@]}"
fi
if runs 2; then
    log "Stage 2: audio -> ${dumpdir}"
    [ "${#held_out_dirs[@]}" -eq 0 ] || audio=(--held_out "${held_out_dirs[@]}" "${audio[@]}")
    room store "${dumpdir}" "${data_dirs[@]}" "${extra_data_dirs[@]}" "${audio[@]}"
fi
if runs 3; then
    from= # the first iteration predicts clusters of MFCCs; each later one starts from the weights of the one before
    for at in "${!iterations[@]}"; do
        log "Stage 3: iteration $((at + 1)) of ${#iterations[@]}, ${clusters[at]} clusters of ${from:-MFCCs} -> ${iterations[at]}"
        room clusters "${dumpdir}" "${labels[at]}" --clusters "${clusters[at]}" ${from:+--model "${from}" --layer "${layer}"} \
            --run "${iterations[at]}" --device "${device}"
        room train --config "${config}" --store "${dumpdir}" --device "${device}" --labels "${labels[at]}" \
            --output "${iterations[at]}" --updates "${updates[at]}" --max_hours "${hours[at]}" ${from:+--init "${from}"}
        from=${iterations[at]}/hf
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
        --data_dirs "${data_dirs[@]}" "${extra_data_dirs[@]}" ${card_notes:+--notes "${card_notes}"}
fi
if runs 6; then
    [ -f "${expdir}/hubert_mini/model.safetensors" ] || die "there is no model in ${expdir}/hubert_mini: run stages 1 to 5 first"
    # experiments are kept by name, and another model may have been trained into the same folder
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
    evaluate() { # NAME METHODS "KEY=VALUE …", then options that choose the upstream
        "${eval_recipe}/run.sh" --expdir "${downstream}" --asr_tag "$1" --methods "$2" --asr_args "$3 ${changes}" \
            --sparsities "${eval_sparsities}" --seeds "${eval_seeds}" --ngpu "${ngpu}" --python "${python}" "${@:4}" "${eval_args[@]}"
    }
    evaluate new "${eval_methods}" "" --upstream hf_hubert_custom --upstream_path "${models}/hubert_mini"
    evaluate baseline "${eval_methods}" "" --upstream "${baseline}" --skip_data_prep true
    evaluate random "${eval_methods}" "" --upstream hf_hubert_custom --upstream_path "${models}/random" --skip_data_prep true
    # log-mel features: a Transformer of the same shape on them, all of it trained, its convolutions too
    evaluate log_mel finetune "frontend_conf.mask_conf.train_cnn=true frontend_conf.cache_frozen=0" \
        --upstream hf_whisper_custom --upstream_path "${models}/log_mel" --skip_data_prep true
    "${python}" -m espnet_s3router.results.pages.upstreams --expdir "${downstream}" --dev "${eval_dev}" --test "${eval_test}" \
        --upstream hf_hubert_custom/hubert_mini --dump "${eval_recipe}/dump/raw" --command "${run_command}" \
        ${results_md:+--results_md "${results_md}" --pretraining "${expdir}"}
fi
exit
}
