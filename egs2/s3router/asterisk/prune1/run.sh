#!/usr/bin/env bash
# Pruning methods against sparsity on ten minutes of recorded English prompts, all from the same dense models (stage 16).
#   ./run.sh            eight methods, five sparsities: two rates with the first of three seeds, the others at the better one on dev;
#                       3 dense models and 164 points, with those that train as long and prune nothing; writes RESULTS.md
#   ./run.sh --quick    three methods, two sparsities, one seed, 60 updates: a quarter of an hour; writes into exp/quick
# --model whisper_tiny_en|hubert_mini: a file of conf/upstream. --lang en|es|fr|it|ru: prompts of another language.
# --skip_committed true: points whose rows are in results/*.tsv count as finished
set -euo pipefail
cd "$(dirname "$0")"
. ../../TEMPLATE/router1/options.sh
. ../../TEMPLATE/router1/path.sh
. ../../TEMPLATE/router1/cmd.sh
. ../../TEMPLATE/router1/db.sh
export train_cmd

lang=en
model=whisper_tiny_en
quick=false
own_options "quick model lang" "$@"
. ../choices.sh
mkdir -p ../asr1/downloads # what downloads points to

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
