# shellcheck shell=bash
# Sourced by every run.sh, and by the scripts that hold the stages: settings of this site, and options.
set -euo pipefail
template=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "${template}/path.sh"
. "${template}/cmd.sh"
. "${template}/db.sh"
export train_cmd

log() { echo "$(date '+%H:%M:%S') $*"; }
die() { echo "error: $*" >&2; exit 2; }

# option NAME DEFAULT TEXT: declares an option of this recipe alone and sets the variable NAME. --help prints TEXT.
own_names=" " own_flags=" "
rest=()
option() {
    printf -v "$1" '%s' "$2"
    own_names+="$1 "
    [ "$2" != false ] || own_flags+="$1 "
    recipe_options=${recipe_options:-}$(printf -- '--%-38s %s' "$1 $2" "$3")$'\n'
    export recipe_options
}

# record_command "$@": exports the call of a run.sh, as a reader can type it, for the results: run_command. A recipe that
# another recipe calls keeps the command of that one.
record_command() {
    local word
    [ -z "${run_command:-}" ] || return 0
    run_command=./run.sh
    for word in "$@"; do
        case ${word} in
        '' | *[!A-Za-z0-9_.:/=,{}-]*) run_command+=" '${word//\'/\'\\\'\'}'" ;;
        *) run_command+=" ${word}" ;;
        esac
    done
    export run_command
}

# own_options "$@": takes the declared options out of the words of a run.sh and sets their variables. An option whose default is
# false may stand alone, or before true or false. All other words go to the array rest. Records the command.
own_options() {
    local name
    rest=()
    case " $* " in *" --help "* | *" -h "*) exec "${template}/router.sh" --help ;; esac
    record_command "$@"
    while [ $# -gt 0 ]; do
        name=${1#--}
        if [ "${name}" = "$1" ] || [ "${own_names#* "${name}" }" = "${own_names}" ]; then
            rest+=("$1")
            shift
        elif [ "${own_flags#* "${name}" }" != "${own_flags}" ]; then
            printf -v "${name}" true
            shift
            case ${1:-} in true | false) printf -v "${name}" '%s' "$1"; shift ;; esac
        else
            [ $# -ge 2 ] || die "option $1 needs a value"
            printf -v "${name}" '%s' "$2"
            shift 2
        fi
    done
}

# requested NAME DEFAULT: the value of --NAME among the words in the array rest, else the default
requested() {
    local value=$2 at words=("${rest[@]}")
    for at in "${!words[@]}"; do
        case ${words[at]//-/_} in "__$1") value=${words[at + 1]:-} ;; esac
    done
    echo "${value}"
}

# need_file FILE: an error that lists the neighbours of a missing file
need_file() { [ -f "$1" ] || die "no $1; there are $(cd "$(dirname "$1")" && echo ./*.yaml)"; }

# need_packages: an error that names the interpreter if it lacks what every stage needs, as when another environment is active
need_packages() {
    local missing path
    path=$(command -v "${python}") || die "--python is '${python}', and there is no such interpreter"
    missing=$("${python}" -c 'from importlib.util import find_spec
print(*[name for name in ("yaml", "numpy", "torch", "espnet2", "s3prl") if find_spec(name) is None])') ||
        die "--python is '${python}', and ${path} does not start"
    [ -z "${missing}" ] || die "${path} lacks ${missing// /, }. ${VIRTUAL_ENV:+The environment ${VIRTUAL_ENV} is active: deactivate it, or install into it with pip install -e ${S3ROUTER_ROOT}. }./run_all.sh makes an environment in ${S3ROUTER_ROOT}/.venv, and recipes use it if no other is active. Or name an interpreter with --python"
}

# script_options MODULE: lets Python check the words in the array rest, and sets the variables that the stages need
script_options() {
    local assignments
    python=$(requested python python3)
    need_packages
    assignments=$("${python}" -m "$1" "${rest[@]}") || exit $?
    eval "${assignments}"
}

# stage_18 TEXT MODULE OPTIONS...: runs a module of experiments on the options of several recipes or languages
stage_18() {
    local text=$1 module=$2
    shift 2
    rest=("$@")
    python=$(requested python python3)
    need_packages
    log "Stage 18: ${text}"
    exec "${python}" -m "espnet_s3router.experiments.${module}" "$@"
}

# check_languages LANG...: stops a recipe of several languages before the first one trains, if its options do not fit together
check_languages() {
    local name repeated
    [ $# -ge 1 ] || die "--langs is empty, expected languages such as \"es fr\""
    repeated=$(printf '%s\n' "$@" | sort | uniq -d)
    [ -z "${repeated}" ] || die "--langs names ${repeated//$'\n'/, } twice, expected each language once"
    for name in transfer joint; do
        [ "${!name:-false}" = false ] || [ $# -ge 2 ] || die "--${name} needs two languages or more, and --langs is '$*'"
    done
    if [ "${transfer:-false}" = true ]; then
        case " $(requested methods routing) " in
            *" routing "*) ;;
            *) die "--transfer starts from the masks of routing, and --methods is '$(requested methods routing)': add routing" ;;
        esac
    fi
    [ $# -ge 2 ] || return 0 # what has one value for all languages would mix them up
    for name in train_set valid_set test_sets lang asr_tag results_md best_rates unseen; do
        [ -z "$(requested "${name}" "")" ] || die "--${name} is for one language, and there are $#: give one with --langs"
    done
    [ "$(requested local_data unset)" = unset ] || die "--local_data is for one language, and there are $#: give one with --langs"
}

# one_kind FULL BYTES: an error if both are true, as a call is either the one or the other
one_kind() { [ "$1" = false ] || [ "$2" = false ] || die "--full and --bytes are two calls: give one of them"; }

# after_stage_13: true if a recipe goes on after its last language
after_stage_13() { [ "$(requested check_corpus false)" = false ] && [ "$(requested stop_stage 13)" -ge 13 ]; }

# languages_page LANG=DEV,TEST ...: after stage 13, one page for several languages, RESULTS.md in the folder of the experiments.
# It has how often a language was found, if the output of `s3router identify --json` lies there as identified.json.
languages_page() {
    local folder tag
    [ $# -ge 2 ] && after_stage_13 || return 0
    folder=$(requested expdir exp)
    tag=$(basename "$(requested inference_config conf/decode_ctc.yaml)" .yaml)
    tag=$(requested inference_tag "${tag}")
    [ ! -f "${folder}/identified.json" ] || set -- "$@" --identified "${folder}/identified.json"
    "$(requested python python3)" -m espnet_s3router.results.pages.languages --expdir "${folder}" --inference_tag "${tag}" \
        --dump "$(requested dumpdir dump)/raw" --results_md "${folder}/RESULTS.md" --command "${run_command}" "$@"
}

# need_corpus NAME: an error if the variable NAME of db.sh names no folder; not for the user's own data (--local_data "")
need_corpus() {
    [ -n "$(requested local_data unset)" ] || return 0
    [ -n "${!1}" ] || die "set $1 in egs2/s3router/TEMPLATE/router1/db.sh or in the environment; the README.md of the recipe says how to get the corpus"
    [ -d "${!1}" ] || die "$1 is '${!1}', and there is no such folder in ${PWD}"
}
