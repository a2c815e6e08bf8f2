# shellcheck shell=bash disable=SC2034,SC2154
# Two tasks on one upstream, transcripts and intents; sourced by slu1/run.sh.

# one_task_after_the_other: stages 1 to 13 of both tasks with the methods that are needed, then their page. The transcripts are
# those of ../asr1 in English, and so are their experiments.
one_task_after_the_other() {
    local name kinds parts=() needed=routing transcripts
    for name in train_set valid_set test_sets local_data lang asr_tag asr_config expdir dumpdir asr_stats_dir methods results_md; do
        [ "$(requested "${name}" unset)" = unset ] ||
            die "--${name} is for one task, and there are two with --forgetting and --transfer: leave it out"
    done
    [ "${target}" = intent ] || die "--target is ${target}, expected intent with --forgetting and --transfer"
    case " ${langs} " in *" en "*) ;; *) die "--langs is '${langs}', expected en among them: the transcripts are English" ;; esac
    if "${forgetting}"; then needed+=" finetune" parts+=(forgetting); fi
    if "${transfer}"; then read -ra kinds <<<"${transfer_kinds}" && parts+=("${kinds[@]}"); fi
    intents+=(--methods "${needed}" "${rest[@]}")
    transcripts=("${common[@]}" --recipe asterisk/asr1 --lang en --local_data "" --local_upstream "" --unseen ""
        --train_set train_10min_en --valid_set dev_en --test_sets "dev_en test_en" --expdir "${asr_exp}"
        --asr_config "conf/train_asr.yaml ${file}" --asr_tag "${tag}" --methods "${needed}" "${rest[@]}")
    ../../TEMPLATE/router1/router.sh "${intents[@]}"
    [ "$(requested check_corpus false)" = false ] || return 0
    log "transcripts"
    ../../TEMPLATE/router1/router.sh "${transcripts[@]}"
    after_stage_13 || return 0
    ../../TEMPLATE/router1/tasks.sh --expdir exp/tasks --parts "${parts[@]}" \
        --router "${transcripts[@]}" --route_language transcript --router "${intents[@]}" --route_language intent
}

# both_tasks_in_one_run: every recording once for each task. With one task alone, the run is a control of equal length.
both_tasks_in_one_run() {
    local name train valid tests=() kind=${tasks// /_} rows="own_masks one_mask own_masks_weights" folder names sets control=() unseen_here=''
    read -ra names <<<"${tasks}"
    case ${tasks} in "asr slu" | asr | slu) ;; *) die "--tasks is '${tasks}', expected \"asr slu\", asr or slu" ;; esac
    if [ "$(requested stage 1)" -le 1 ] && [ "$(requested skip_data_prep false)" = false ]; then
        ../../TEMPLATE/router1/router.sh "${intents[@]}" "${rest[@]}" --stop_stage 1
    fi
    [ "$(requested check_corpus false)" = false ] || return 0
    train=$(requested train_set train_families) valid=$(requested valid_set dev_families)
    read -ra sets <<<"$(requested test_sets "dev_families test_families")"
    for name in "${sets[@]}"; do tests+=("${name}_${kind}"); done
    if [ "$(requested stage 1)" -le 2 ] && [ "$(requested skip_data_prep false)" = false ]; then
        for name in $(printf '%s\n' "${train}" "${valid}" "${sets[@]}" | sort -u); do
            "$(requested python python3)" -m espnet_s3router.data tasks "data/${name}" "data/${name}_${kind}" --tasks "${names[@]}"
        done
    fi
    [ "$(requested stop_stage 13)" -ge 2 ] || return 0
    if [ "${kind}" != asr_slu ]; then
        folder=$(requested expdir exp) rows=own_masks
        mkdir -p "${folder}"
        echo "own_masks: {frontend_conf: {mask_conf: {languages: [${kind}]}}, num_iters_per_epoch: 44, scheduler_conf: {max_steps: 880}}" \
            >"${folder}/${kind}.yaml"
        control=("$(printf %q "${folder}/${kind}.yaml")")
    fi
    [ "${train}" != train_families ] || unseen_here=data/test_families_${kind}/utt_unseen
    ../../TEMPLATE/router1/router.sh "${common[@]}" --task "${kind}" --lang "families_${kind}" --methods "${rows}" \
        --methods_config "${methods/conf\/methods.yaml/conf/methods.yaml conf/methods/tasks.yaml} ${control[*]}" \
        --asr_config "conf/train_asr.yaml ${file} conf/target/transcript.yaml" --asr_tag "${tag:+${tag}_}${kind}" "${rest[@]}" \
        --stage "$(max "$(requested stage 1)" 2)" --local_data "" --local_upstream "" --unseen "$(requested unseen "${unseen_here}")" \
        --train_set "${train}_${kind}" --valid_set "${valid}_${kind}" --test_sets "${tests[*]}"
}

# max A B: the larger of two numbers
max() { echo $(($1 > $2 ? $1 : $2)); }
