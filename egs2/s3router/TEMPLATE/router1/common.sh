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
own_names=" "
rest=()
option() {
    printf -v "$1" '%s' "$2"
    own_names+="$1 "
    recipe_options=${recipe_options:-}$(printf -- '--%-38s %s' "$1 $2" "$3")$'\n'
    export recipe_options
}

# record_command "$@": exports the call of a run.sh, as a reader can type it, for the results: run_command.
record_command() {
    local word
    run_command=./run.sh
    for word in "$@"; do
        case ${word} in
        '' | *[!A-Za-z0-9_.:/=,{}-]*) run_command+=" '${word//\'/\'\\\'\'}'" ;;
        *) run_command+=" ${word}" ;;
        esac
    done
    export run_command
}

# own_options "$@": takes the declared options out of the words of a run.sh and sets their variables. An option whose value is
# false needs no value. All other words go to the array rest. Records the command.
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
        elif [ "${!name}" = false ]; then
            printf -v "${name}" true
            shift
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

# script_options MODULE: lets Python check the words in the array rest, and sets the variables that the stages need
script_options() {
    local assignments
    python=$(requested python python3)
    assignments=$("${python}" -m "$1" "${rest[@]}") || exit $?
    eval "${assignments}"
}
