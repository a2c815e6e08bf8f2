#!/usr/bin/env bash
# Pruning methods against sparsity on ten minutes of recorded English prompts, all from the same dense models (stage 16).
#   ./run.sh            eight methods, five sparsities, three seeds: 3 dense models and 164 runs, a control without pruning among
#                       them; two rates with the first seed, the better one on dev with the others; writes RESULTS.md
#   ./run.sh --quick    three methods, two sparsities, one seed, 60 updates: a quarter of an hour; writes into exp/quick
#   ./run.sh --skip_committed true    runs whose rows are in results/*.tsv count as finished

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option lang en "en, es, fr, it or ru: language of the prompts"
option quick false "a small grid, see above"
option model whisper_tiny_en "file of conf/upstream: whisper_tiny_en or hubert_mini"
own_options "$@"
. ../choices.sh
mkdir -p ../asr1/downloads # the target of the link downloads

choices=(--asr_config "conf/train_asr.yaml ${file} conf/prune.yaml" --methods_config "${methods}" --results_md "${results}.md"
    --prune_methods "routing_prune parp parp_remask parp_p omp imp mpi rp" --sparsities "0.1 0.3 0.5 0.7 0.8"
    --control_method omp_continued
    --lrs "3e-4 1e-3" --seeds "0 1 2" --tune_on_first_seed true)
if "${quick}"; then
    choices=(--asr_config "conf/train_asr.yaml ${file} conf/quick/train_asr.yaml" --expdir exp/quick
        --methods_config "${methods} conf/quick/methods.yaml" --results_md exp/quick/RESULTS.md
        --prune_methods "routing_prune parp omp" --sparsities "0.5 0.7" --seeds 0)
fi
# stage 16 trains its dense models itself
../../TEMPLATE/router1/router.sh --recipe asterisk/prune1 "${corpus[@]}" \
    --stop_stage 16 --skip_train true --skip_eval true "${choices[@]}" "${rest[@]}"
