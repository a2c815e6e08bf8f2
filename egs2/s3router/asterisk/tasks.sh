# shellcheck shell=bash disable=SC2034,SC2154
# Transcripts and intents on one upstream: what is forgotten of one task after the other, and masks of one on the other.
# Sourced by slu1/run.sh. The transcripts are those of ../asr1, in English, and so are their experiments.

# one_task_after_the_other: stages 1 to 13 of both tasks with the methods that are needed, then their page
one_task_after_the_other() {
    local name parts=() needed="routing" transcripts
    for name in train_set valid_set test_sets local_data lang asr_tag asr_config expdir dumpdir methods results_md asr_stats_dir; do
        [ "$(requested "${name}" unset)" = unset ] || die "--${name} is for one task, and there are two with --forgetting and --transfer"
    done
    [ "${target}" = intent ] || die "--target is ${target}, expected intent with --forgetting and --transfer"
    case " ${langs} " in *" en "*) ;; *) die "--langs is '${langs}', expected en among them: the transcripts are English" ;; esac
    if "${forgetting}"; then needed+=" finetune" parts+=(forgetting); fi
    if "${transfer}"; then parts+=(frozen); fi
    if "${transfer}" && "${adapted}"; then parts+=(adapted); fi
    intents+=("${common[@]}" --methods "${needed}")
    transcripts=(--recipe asterisk/asr1 "${common[@]}" --methods "${needed}" --lang en --local_data "" --local_upstream "" --asr_tag "${tag}"
        --train_set train_10min_en --valid_set dev_en --test_sets "dev_en test_en" --asr_config "conf/train_asr.yaml ${file}"
        --expdir "${asr_exp}")
    ../../TEMPLATE/router1/router.sh "${intents[@]}" "${rest[@]}"
    log "transcripts"
    ../../TEMPLATE/router1/router.sh "${transcripts[@]}" "${rest[@]}"
    after_stage_13 || return 0
    ../../TEMPLATE/router1/tasks.sh --expdir exp/tasks --parts "${parts[@]}" \
        --task "${transcripts[@]}" "${rest[@]}" --route_language transcript --task "${intents[@]}" "${rest[@]}" --route_language intent
}
