# shellcheck shell=bash disable=SC2154
# The sweep of HJ-Pruning and of its controls; sourced by a run.sh after choices.sh, for its option quick.

# hj_sweep RECIPE CONFIGS OPTIONS...: stage 16, which trains its dense models itself. CONFIGS: files of the training configuration.
hj_sweep() {
    local recipe=$1 configs=$2 rows="conf/rows.yaml${methods#conf/methods.yaml}" choices
    shift 2
    choices=(--asr_config "${configs}" --methods_config "${rows}" --results_md "${results}.md"
        --prune_methods "hj_size hj_macs hj_sep_macs omp_units uniform" --sparsities "0.1 0.2 0.3 0.4 0.5 0.6 0.7" --seeds "0 1 2"
        --control_method omp_continued)
    if "${quick}"; then
        choices=(--asr_config "${configs} conf/quick/train_asr.yaml" --methods_config "${rows} conf/quick/methods.yaml"
            --expdir exp/quick --results_md exp/quick/RESULTS.md --prune_methods hj_macs --sparsities "0.3 0.6" --seeds 0)
    fi
    ../../TEMPLATE/router1/router.sh --recipe "${recipe}" "${corpus[@]}" --stop_stage 16 --skip_train true --skip_eval true \
        "${choices[@]}" "$@"
}
