#!/usr/bin/env bash
# The stages of every recipe. The run.sh of a recipe holds choices only and calls this from its own directory.
# espnet_s3router/experiments/options.py declares the options.
# shellcheck disable=SC2154  # script_options sets the variables
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

export run_command=${run_command:-router.sh $*}
rest=("$@")
script_options espnet_s3router.experiments.options
trap 'rm -f "${options_file}"' EXIT
data=("${python}" -m espnet_s3router.data)
experiments() { "${python}" -m "espnet_s3router.experiments.$1" --options "${options_file}" "${@:2}"; }
runs() { [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ]; }

{ # bash reads all of this before it runs any of it: a script that is edited meanwhile goes on as it was
if ! "${skip_data_prep}" && [ "${stage}" -le 5 ]; then
    # a wrong configuration is reported before hours of data preparation
    [ "${#grid_stages[@]}" -eq 0 ] || experiments grid --only_check
    if "${prunes}"; then experiments sweep --only_check; fi
    if [ "${cleaner}" != none ]; then "${python}" -m espnet_s3router.bin.clean_text "${cleaner}"; fi

    if runs 1 && [ "${#prepare_data[@]}" -gt 0 ]; then
        log "Stage 1: data preparation"
        "${python}" -m "${prepare_data[@]}"
    fi
    if runs 1 && [ "${#prepare_upstream[@]}" -gt 0 ]; then
        log "Stage 1: upstream"
        "${python}" -m "${prepare_upstream[@]}"
    fi
    if runs 2 && [ "${#speed_perturb_factors[@]}" -gt 0 ]; then
        log "Stage 2: speed perturbation ${speed_perturb_factors[*]}"
        "${data[@]}" speed "data/${train_set}" "data/${training_set}" --factors "${speed_perturb_factors[@]}"
    fi
    if runs 3; then
        log "Stage 3: audio -> ${raw}/org"
        "${data[@]}" validate --on_bad "${on_bad}" "data/${training_set}" "data/${valid_set}" "${test_sets[@]/#/data/}"
        for name in "${training_set}" "${valid_set}" "${test_sets[@]}"; do
            "${data[@]}" format "data/${name}" "${raw}/org/${name}" --fs "${fs}" --audio_format "${audio_format}" --nj "${nj}" --on_bad "${on_bad}"
        done
    fi
    if runs 4; then
        log "Stage 4: leave out utterances that are too short, too long or empty -> ${raw}"
        frame_options=$(experiments grid --frames)
        read -ra frames <<<"${frame_options}"
        cleaned=()
        folders=("${raw}/org/${training_set}" "${raw}/org/${valid_set}" "${test_sets[@]/#/${raw}/org/}")
        if "${understands}"; then
            intents=("${own_symbols[@]}" "${of_intents[@]}")
            if "${intent_alone}"; then intents+=(--alone) cleaned=(--text text.intent); fi
            "${data[@]}" intents "${folders[0]}" "${symbols_file}" --check "${folders[@]:1}" "${intents[@]}"
        fi
        if [ "${cleaner}" != none ]; then
            "${python}" -m espnet_s3router.bin.clean_text "${cleaner}" "${folders[@]}" "${symbols[@]}"
            cleaned=(--text text.cleaned)
        fi
        for name in "${training_set}" "${valid_set}"; do
            "${data[@]}" filter "${raw}/org/${name}" "${raw}/${name}" --fs "${fs}" --token_type "${filter_token_type}" "${symbols[@]}" \
                "${frames[@]}" "${cleaned[@]}" --min_wav_duration "${min_wav_duration}" --max_wav_duration "${max_wav_duration}"
        done
        for at in "${!test_sets[@]}"; do # a test set stays whole, and so does the validation set where it is decoded
            "${data[@]}" filter "${raw}/org/${test_sets[at]}" "${test_folders[at]}" --fs "${fs}" "${frames[@]}" \
                "${cleaned[@]}" --token_type none --min_wav_duration 0 --max_wav_duration 1e9
        done
    fi
    if runs 5; then
        log "Stage 5: token list -> ${token_folder}"
        "${data[@]}" tokens "${raw}/${training_set}" "${token_list}" --token_type "${token_type}" --nbpe "${nbpe}" \
            --bpemode "${bpemode}" "${symbols[@]}" --check "${test_folders[@]}"
    fi
fi

if [ "${#grid_stages[@]}" -gt 0 ]; then
    log "Stages ${grid_stages[0]} to ${grid_stages[-1]}: statistics (10), train (11), decode (12), score (13) -> ${expdir}"
    experiments grid
fi
if runs 13 && ! "${skip_eval}"; then experiments report; fi
if "${packs}"; then
    log "Stages 14 and 15: the best run as a pack, which is opened again, and its upload -> ${expdir}/packs"
    experiments packing
fi
if "${prunes}"; then
    log "Stage 16: prune (${prune_methods[*]}), from dense models to tables and plots -> ${expdir}"
    experiments sweep
fi
if runs 17; then
    log "Stage 17: route files, baked and smaller models and models in ONNX, checked against the trained models -> ${expdir}"
    experiments deploy
fi
exit
}
