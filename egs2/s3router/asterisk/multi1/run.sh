#!/usr/bin/env bash
# Five languages on one base: a route for each, of ten minutes of recorded prompts; masks against weights and adapters.
#   ./run.sh            trains, writes the routes of all languages into exp/routes and one page, exp/RESULTS.md
#   ./run.sh --langs "en es" --methods routing
#   ./run.sh --model hubert_mini    another upstream; its routes go to exp/routes_hubert_mini
#   ./run.sh --transfer    then each language with the masks of every other one: a matrix in exp/transfer
#   ./run.sh --joint       then one run for all: masks of each language on the same weights, one head with the letters of all
#   ./run.sh --joint --joint_methods "pathways common_mask pathways_weights"    other rows of conf/methods/joint.yaml
#   s3router transcribe --bank exp/routes --lang auto a.wav    reads them

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option langs "en es fr it ru" "languages of the prompts"
option model whisper_tiny_en "file of conf/upstream: whisper_tiny_en or hubert_mini"
option transfer false "the transfer matrix after stage 13, see above"
option transfer_kinds "frozen adapted" "runs of the matrix: frozen masks with a new head, masks that go on learning, or both"
option joint false "after that, one run of all languages at once, see above"
option joint_methods pathways "rows of conf/methods/joint.yaml"
own_options "$@"
mkdir -p ../asr1/downloads # the target of the link downloads

read -ra names <<<"${langs}"
check_languages "${names[@]}"
languages=() pages=()
for lang in "${names[@]}"; do
    . ../choices.sh
    log "language ${lang}"
    options=(--recipe asterisk/multi1 "${corpus[@]}" --asr_config "conf/train_asr.yaml ${file}"
        --methods_config "${methods}" --methods "head_only finetune lora routing" --sparsities "0.08" --parallel 4 "${rest[@]}")
    routes=$(requested expdir exp)/routes # all of them on one base
    [ "${model}" = whisper_tiny_en ] || routes+=_${model}
    gathered=(--stop_stage 17 --route_language "${lang}" --routes_dir "${routes}") # the best routing run; of other methods the best
    case " $(requested methods routing) " in *" routing "*) gathered+=(--routes_method routing) ;; esac
    ../../TEMPLATE/router1/router.sh "${gathered[@]}" "${options[@]}"
    languages+=(--language "${options[@]}")
    pages+=("${lang}=dev_${lang},test_${lang}")
done
languages_page "${pages[@]}"
if "${transfer}" && after_stage_13; then
    read -ra kinds <<<"${transfer_kinds}"
    ../../TEMPLATE/router1/transfer.sh --kinds "${kinds[@]}" --control en "${languages[@]}"
fi
if "${joint}" && [ "$(requested check_corpus false)" = false ]; then
    python=$(requested python python3)
    pool() { # pool SET LANG...: data/SET_joint with the utterances of data/SET_LANG of each language
        local lang sources=()
        for lang in "${@:2}"; do sources+=("${lang}=data/$1_${lang}"); done
        "${python}" -m espnet_s3router.data pool "data/$1_joint" "${sources[@]}"
    }
    log "all languages together"
    for name in train_10min dev test; do pool "${name}" "${names[@]}"; done
    folder=$(requested expdir exp)
    mkdir -p "${folder}"
    for row in ${joint_methods}; do
        echo "${row}: {frontend_conf: {mask_conf: {languages: [$(IFS=,; echo "${names[*]}")]}}}"
    done >"${folder}/joint.yaml"
    ../../TEMPLATE/router1/router.sh "${options[@]}" --lang joint --local_data "" --local_upstream "" --unseen "" \
        --asr_tag "joint_${model}" --train_set train_10min_joint --valid_set dev_joint --test_sets "dev_joint test_joint" \
        --methods_config "${methods/conf\/methods.yaml/conf/methods.yaml conf/methods/joint.yaml} $(printf %q "${folder}/joint.yaml")" \
        --methods "${joint_methods}"
fi
