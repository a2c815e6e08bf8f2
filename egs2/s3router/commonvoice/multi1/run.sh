#!/usr/bin/env bash
# Common Voice, one hour of each language: finetuned weights against masks, language by language on one upstream. The routes of
# all languages are written into one folder, exp/routes_MODEL.
#   COMMONVOICE=DIR/cv-corpus-17.0-2024-03-15 ./run.sh --langs "es fr" --model xls_r_300m --ngpu 1 --parallel 1
#   ./run.sh --units phones    phones by espeak-ng and the phone error rate, as in the papers
#   ./run.sh --transfer        then each language with the masks of every other one: a matrix in exp/transfer

# shellcheck disable=SC2154  # option sets the variables
cd "$(dirname "$0")" || exit
. ../../TEMPLATE/router1/common.sh
option langs "en es fr it ky nl ru sv-SE tr tt zh-TW" "languages, by their codes in Common Voice"
option model xls_r_300m "file of conf/upstream"
option units characters "what is recognised: characters or phones"
option minutes 60 "training speech of each language"
option release "" "name of the release, if the folder does not tell it"
option transfer false "the transfer matrix after stage 13, see above"
option transfer_kinds "frozen adapted" "runs of the matrix: frozen masks with a new head, masks that go on learning, or both"
own_options "$@"
need_file "conf/upstream/${model}.yaml"
case ${units} in characters | phones) ;; *) die "--units is '${units}', expected characters or phones" ;; esac
[[ ${minutes} =~ ^(0|[1-9][0-9]{0,3})(\.[0-9]*[1-9])?$ ]] || die "--minutes is '${minutes}', expected a number such as 60 or 0.5"
read -ra languages <<<"${langs}"
check_languages "${languages[@]}"
if [ "$(requested local_data unset)" = unset ]; then
    [ -n "${COMMONVOICE}" ] || die "set COMMONVOICE in egs2/s3router/TEMPLATE/router1/db.sh or in the environment: the unpacked release; README.md says how to get it"
    [ -d "${COMMONVOICE}" ] || die "COMMONVOICE is '${COMMONVOICE}', and there is no such folder in ${PWD}"
fi

end='' tokens=char matrix=() pages=()
if [ "${units}" = phones ]; then end=_phn tokens=phn; fi
language() { # language LANG WORDS...: the stages of one language; sets options
    local lang=$1 train dev test label data
    train=train_${minutes}min_${lang}${end} dev=dev_${lang}${end} test=test_${lang}${end}
    label=$(requested train_set "${train}") # the user's own data have a label of their own
    label=${label#train_}
    data="local.commonvoice --root $(printf %q "${COMMONVOICE}") --data_dir data --lang ${lang} --minutes ${minutes} --units ${units}"
    [ -z "${release}" ] || data+=" --release $(printf %q "${release}")"
    log "Language ${lang}"
    gathered=(--stop_stage 17 --routes_dir "$(requested expdir exp)/routes_${model}${end}")
    case " $(requested methods routing) " in *" routing "*) gathered+=(--routes_method routing) ;; esac
    options=(--recipe commonvoice/multi1 --lang "${label}" --asr_tag "${label}_${model}" --route_language "${lang}"
        --local_data "${data}" --train_set "${train}" --valid_set "${dev}" --test_sets "${dev} ${test}" --token_type "${tokens}"
        --asr_config "conf/train_asr.yaml conf/upstream/${model}.yaml"
        --methods_config conf/methods.yaml --methods "finetune routing" --sparsities 0.08 "${rest[@]}")
    ../../TEMPLATE/router1/router.sh "${gathered[@]}" "${options[@]}" "${@:2}"
}
if [ "$(requested check_corpus false)" = false ] && [ "${#languages[@]}" -gt 1 ] && [ "$(requested stage 1)" = 1 ] && [ "$(requested skip_data_prep false)" = false ]; then
    for lang in "${languages[@]}"; do language "${lang}" --check_corpus true; done # a missing language is said before the first trains
fi
for lang in "${languages[@]}"; do
    language "${lang}"
    matrix+=(--language "${options[@]}")
    pages+=("${lang}=dev_${lang}${end},test_${lang}${end}")
done
languages_page "${pages[@]}"
if "${transfer}" && after_stage_13; then
    read -ra kinds <<<"${transfer_kinds}"
    ../../TEMPLATE/router1/transfer.sh --kinds "${kinds[@]}" --control "${minutes}min_en${end}" "${matrix[@]}"
fi
