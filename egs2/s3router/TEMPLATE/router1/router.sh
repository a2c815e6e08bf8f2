#!/usr/bin/env bash
# The stages of every recipe. A recipe's run.sh holds choices only and calls this from its own directory.
# shellcheck disable=SC2034  # most options are read by name
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/options.sh"

# Stages: 1 data and upstream, 2 speed perturbation, 3 audio, 4 what is left out, 5 tokens, 10 statistics, 11 training,
# 12 decoding, 13 scoring, tables and plot; 16 pruning methods against sparsity
stage=1                   # first stage
stop_stage=13             # last stage
skip_data_prep=false      # skip stages 1 to 5
skip_train=false          # skip stages 10 and 11
skip_eval=false           # skip stages 12 and 13
# Machines
ngpu=0                    # GPUs of a training run
num_nodes=1
nj=2                      # threads of data preparation
inference_nj=1            # processes of decoding
gpu_inference=            # true or false; empty: true where training has a GPU
parallel=2                # points that train at a time: workers on this machine, jobs of SLURM
threads=0                 # of a point; 0: the cores of a worker, shared out
cluster=local             # local, slurm, or the address of a Dask scheduler (tcp://host:8786)
cluster_config=           # YAML with the options of dask_jobqueue.SLURMCluster, see slurm.yaml beside router.sh
cluster_timeout=3600      # seconds until the first worker of a cluster must be there
python=python3
# Folders
dumpdir=dump
expdir=exp
# Data
recipe=                   # name in the results, such as asterisk/asr1
local_data=               # python module of local/ that prepares the corpus, with its options
local_data_opts=          # further options of it
local_upstream=           # python module of local/ that fetches the upstream, with its options
speed_perturb_factors=    # such as "0.9 1.0 1.1"
audio_format=flac
fs=16000
min_wav_duration=0.1      # seconds, of training and validation
max_wav_duration=20
on_bad=error              # a faulty recording is an error, or dropped (drop)
train_set=
valid_set=
test_sets=
lang=noinfo
unseen=                   # file of test utterances whose text does not occur in training, reported apart
# Tokens
token_type=char           # char or bpe
nbpe=30
bpemode=unigram
nlsyms_txt=
# Training
asr_config=conf/train_asr.yaml
asr_args=                 # "KEY=VALUE …" on top of it, dotted keys
asr_tag=
asr_stats_dir=
pretrained_model=         # --init_param of ESPnet
methods_config=           # one file or several, later ones on top
methods=                  # rows of methods_config, by which tables call them; empty: asr_config itself is the experiment
sparsities=
lrs=
seeds=0
upstream=                 # overrides frontend_conf.frontend_conf.upstream
upstream_path=
# Pruning (stage 16)
prune_methods=            # rows of methods_config, swept over sparsities, lrs and seeds
dense_method=finetune     # row of methods_config by which the dense models are trained that they start from, one a seed
control_method=           # row of methods_config that runs at sparsity 0 too: what the updates of the others do by themselves
tune_on_first_seed=false  # true: all of lrs with the first seed, the other seeds with what is best on valid_set at each sparsity
dense_exp=                # or the folder of a dense model that is there, such as ../asr1/exp/asr_finetune_seed{seed}
skip_committed=false      # true: points whose rows are in committed_results count as finished
committed_results="results/*.tsv"
# Decoding
inference_tag=
inference_config=conf/decode_ctc.yaml
inference_args="--ctc_best_path true"   # empty: ESPnet's beam search, slow on long utterances
inference_asr_model=valid.cer_ctc.ave.pth
results_md=               # RESULTS.md to write
best_rates=               # methods_config to write: of each method the rate of lrs that is best on valid_set
check_corpus=false        # true: say whether the corpus is there or can be fetched, and stop
run_args="$*"

parse_options "${BASH_SOURCE[0]}" "$@"
need_boolean skip_data_prep skip_train skip_eval tune_on_first_seed skip_committed check_corpus
if "${check_corpus}"; then echo "the corpus is there, or stage 1 fetches it"; exit 0; fi
[ -n "${train_set}" ] && [ -n "${valid_set}" ] && [ -n "${test_sets}" ] || die "--train_set, --valid_set and --test_sets are needed"
case " ${test_sets} " in
    *" ${valid_set} "*) ;;
    *) die "--test_sets is '${test_sets}', expected --valid_set (${valid_set}) among them: variants are chosen on it" ;;
esac
case ${fs} in 16000 | 16k) ;; *) die "--fs is '${fs}', expected 16000: s3prl's upstreams take audio of 16 kHz" ;; esac
for name in pretrained_model nlsyms_txt; do
    file=${!name%%:*} # of start weights: FILE:from:to:without
    [ -z "${file}" ] || [ -f "${file}" ] || die "--${name} is '${!name}', and there is no such file"
done
for number in stage stop_stage; do
    [[ ${!number} =~ ^[0-9]+$ ]] || die "--${number} is '${!number}', expected a number"
done
case ${stage}:${stop_stage} in # said before anything is trained; a run to stage 16 passes over 14 and 15
    1[4578]:* | *:1[4578]) die "stages 14 (pack), 15 (upload), 17 (route and deploy) and 18 (analyse) are not built yet: use --stop_stage 13, or 16 to prune" ;;
esac
[ "${stop_stage}" -le 16 ] || die "--stop_stage is ${stop_stage}, expected at most 16"
[ "${stage}" -le "${stop_stage}" ] ||
    die "--stage is ${stage}, after --stop_stage, which is ${stop_stage}$([ "${stage}" -ne 16 ] || echo ': to prune, --stop_stage 16 too')"
if [ "${stop_stage}" -eq 16 ] && { [ -z "${prune_methods}" ] || [ -z "${sparsities}" ]; }; then
    die "stage 16 needs --prune_methods and --sparsities, for example --prune_methods 'parp omp' --sparsities '0.1 0.5 0.8'"
fi
for file in $("${skip_committed}" && echo "${committed_results}"); do
    [ -f "${file}" ] || die "--committed_results is '${committed_results}', and there is no such file"
done
[ -n "${gpu_inference}" ] || gpu_inference=$([ "${ngpu}" = 0 ] && echo false || echo true)
case ${gpu_inference}:${ngpu} in
    true:0) die "--gpu_inference is true and --ngpu 0: a point has no GPU to decode on" ;;
    true:* | false:*) ;;
    *) die "--gpu_inference is '${gpu_inference}', expected true or false" ;;
esac
case ${token_type} in char | bpe) ;; *) die "--token_type is '${token_type}', expected char or bpe" ;; esac

source_set=${train_set}
[ -z "${speed_perturb_factors}" ] || train_set=${train_set}_sp
tokens=data/${lang}_token_list/${token_type}$([ "${token_type}" = char ] || echo "_${bpemode}${nbpe}")
stats=${asr_stats_dir:-${expdir}/asr_stats_raw_${train_set}_$(basename "${tokens}")}
inference_tag=${inference_tag:-$(basename "${inference_config}" .yaml)}
raw=${dumpdir}/raw
datadir=("${python}" -m espnet_s3router.data)
symbols=()
[ -z "${nlsyms_txt}" ] || symbols=(--nlsyms_txt "${nlsyms_txt}")
runs() { [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ]; }
# shellcheck disable=SC2086,SC2206  # lists are words on purpose
{
options=(--recipe "${recipe:-$(basename "$(dirname "${PWD}")")/$(basename "${PWD}")}"
    --asr_config ${asr_config} --dump "${raw}" --expdir "${expdir}" --stats_dir "${stats}"
    --parallel "${parallel}" --threads "${threads}" --cluster "${cluster}" --cluster_timeout "${cluster_timeout}"
    --train_set "${train_set}" --valid_set "${valid_set}" --test_sets ${test_sets} --token_type "${token_type}"
    --token_list "${tokens}/tokens.txt" "${symbols[@]}" --ngpu "${ngpu}" --num_nodes "${num_nodes}"
    --inference_tag "${inference_tag}" --inference_nj "${inference_nj}"
    --inference_asr_model "${inference_asr_model}" "--train_cmd=${train_cmd:-run.pl}") # its words may be options
[ "${token_type}" = char ] || options+=(--bpemodel "${tokens}/bpe.model")
! "${gpu_inference}" || options+=(--gpu_inference)
for name in methods_config sparsities lrs seeds; do
    [ -z "${!name}" ] || options+=("--${name}" ${!name})
done
for name in asr_tag upstream upstream_path cluster_config inference_config; do
    [ -z "${!name}" ] || options+=("--${name}" "${!name}")
done
for word in ${asr_args}; do options+=("--asr_args=${word}"); done # words may begin with --
for word in ${inference_args}; do options+=("--inference_args=${word}"); done
[ -z "${pretrained_model}" ] || options+=(--init_param "${pretrained_model}")
pruning=(--prune_methods ${prune_methods} --dense_method "${dense_method}" ${dense_exp:+--dense_exp "${dense_exp}"}
    ${control_method:+--control_method "${control_method}"})
! "${tune_on_first_seed}" || pruning+=(--tune_on_first_seed)
! "${skip_committed}" || pruning+=(--committed ${committed_results})
report=(--command "${run_command:-router.sh ${run_args}}")
[ -z "${unseen}" ] || report+=(--unseen "${unseen}")
[ -z "${results_md}" ] || report+=(--results_md "${results_md}")

first=10
last=13
if "${skip_train}"; then first=12; fi
if "${skip_eval}"; then last=11; fi
if [ "${stage}" -gt "${first}" ]; then first=${stage}; fi
if [ "${stop_stage}" -lt "${last}" ]; then last=${stop_stage}; fi
# what is wrong with the experiment is said before hours of data preparation
if ! "${skip_data_prep}" && [ "${stage}" -le 5 ]; then
    if [ "${first}" -le "${last}" ]; then
        "${python}" -m espnet_s3router.experiments.grid --only_check --stage "${first}" --stop_stage "${last}" "${options[@]}" \
            ${methods:+--methods ${methods}}
    fi
    if runs 16; then "${python}" -m espnet_s3router.experiments.sweep --only_check "${pruning[@]}" "${options[@]}"; fi
fi
if ! "${skip_data_prep}"; then
    if runs 1 && [ -n "${local_data}" ]; then
        log "Stage 1: data preparation"
        words_of "${local_data} ${local_data_opts}"
        "${python}" -m "${words[@]}"
    fi
    if runs 1 && [ -n "${local_upstream}" ]; then
        log "Stage 1: upstream"
        words_of "${local_upstream}"
        "${python}" -m "${words[@]}"
    fi
    if runs 2 && [ -n "${speed_perturb_factors}" ]; then
        log "Stage 2: speed perturbation ${speed_perturb_factors}"
        "${datadir[@]}" speed "data/${source_set}" "data/${train_set}" --factors ${speed_perturb_factors}
    fi
    if runs 3; then
        log "Stage 3: audio -> ${raw}/org"
        for name in ${train_set} ${valid_set} ${test_sets}; do
            "${datadir[@]}" format "data/${name}" "${raw}/org/${name}" --fs "${fs}" --audio_format "${audio_format}" --nj "${nj}" --on_bad "${on_bad}"
        done
    fi
    if runs 4; then
        log "Stage 4: leave out what is too short, too long or empty -> ${raw}"
        for name in ${train_set} ${valid_set}; do
            # pieces of a sentencepiece model are counted once it exists: fewer than characters, so this errs on the safe side
            "${datadir[@]}" filter "${raw}/org/${name}" "${raw}/${name}" --fs "${fs}" --token_type char "${symbols[@]}" \
                --min_wav_duration "${min_wav_duration}" --max_wav_duration "${max_wav_duration}"
        done
        for name in ${test_sets}; do # a test set stays whole, the validation set too where it is decoded
            whole=${raw}/${name}
            [ "${name}" != "${valid_set}" ] || whole=${raw}/whole/${name}
            "${datadir[@]}" filter "${raw}/org/${name}" "${whole}" --fs "${fs}" \
                --token_type none --min_wav_duration 0 --max_wav_duration 1e9
        done
    fi
    if runs 5; then
        log "Stage 5: token list -> ${tokens}"
        "${datadir[@]}" tokens "${raw}/${train_set}" "${tokens}/tokens.txt" --token_type "${token_type}" --nbpe "${nbpe}" \
            --bpemode "${bpemode}" "${symbols[@]}" --check "${raw}/${valid_set}"
    fi
fi
for number in 6 7 8 9; do
    if [ "${stage}" -eq "${number}" ]; then
        die "stage ${number} (language models) is not part of these recipes: CTC is decoded without one. Use --stage 10"
    fi
done

if [ "${stop_stage}" -ge 10 ] && [ -n "${unseen}" ] && [ ! -f "${unseen}" ]; then # a table says it after all training
    [ -d "$(dirname "${unseen}")" ] || die "there is no $(dirname "${unseen}"): run stages 1 to 5 first"
    die "--unseen is '${unseen}', and there is no such file: give --unseen '' where your test sets have none"
fi
if [ "${first}" -le "${last}" ]; then
    log "Stages ${first} to ${last}: statistics (10), train (11), decode (12), score (13) -> ${expdir}"
    "${python}" -m espnet_s3router.experiments.grid --stage "${first}" --stop_stage "${last}" "${options[@]}" ${methods:+--methods ${methods}}
fi
if runs 13 && ! "${skip_eval}"; then
    held_out=
    for name in ${test_sets}; do [ "${name}" = "${valid_set}" ] || held_out+=" ${name}"; done
    "${python}" -m espnet_s3router.experiments.report --expdir "${expdir}" --inference_tag "${inference_tag}" --dump "${raw}" \
        --dev "${valid_set}" --test ${held_out:-${valid_set}} --results_tsv "${expdir}/results.tsv" \
        --plot "${expdir}/cer_against_sparsity.png" "${report[@]}" ${best_rates:+--best_rates "${best_rates}"} \
        --grid "${options[@]}" ${methods:+--methods ${methods}}
fi
if runs 16; then
    log "Stage 16: prune (${prune_methods}), from dense models to tables and plots -> ${expdir}"
    "${python}" -m espnet_s3router.experiments.sweep "${pruning[@]}" "${options[@]}" "${report[@]}"
fi
}
