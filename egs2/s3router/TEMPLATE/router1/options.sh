# shellcheck shell=bash
# Options of the scripts, sourced by them.

log() { echo "$(date '+%H:%M:%S') $*"; }
die() { echo "error: $*" >&2; exit 2; }

# parse_options FILE "$@": an option is a variable that FILE sets at the beginning of a line above its line run_args=…;
# --a-b and --a_b alike; anything else is an error. --help prints those lines, after the head of the recipe's run.sh.
parse_options() {
    local file=$1 known name
    shift
    known=" $(sed -n '/^run_args=/q; s/^\([a-z_0-9]*\)=.*/\1/p' "${file}" | tr '\n' ' ')"
    while [ $# -gt 0 ]; do
        case $1 in
        -h | --help)
            [ ! -f run.sh ] || sed -n '2,/^[^#]/s/^# \{0,1\}//p' run.sh
            printf '\nOptions, with what holds where the recipe does not choose:\n'
            sed -n '/^# Stages/,/^run_args/p' "${file}" | sed '/^run_args/d; s/^\([a-z_0-9]*\)=/--\1 /'
            exit 0
            ;;
        --*)
            name=${1#--}
            name=${name//-/_}
            case ${known} in *" ${name} "*) ;; *) die "unknown option $1; see --help" ;; esac
            [ $# -ge 2 ] || die "option $1 needs a value"
            printf -v "${name}" '%s' "$2"
            shift 2
            ;;
        *) die "unexpected argument $1; options begin with --" ;;
        esac
    done
}

# need_boolean NAME …: an error unless each variable is true or false; commands are made of them.
need_boolean() {
    local name
    for name in "$@"; do
        case ${!name} in true | false) ;; *) die "--${name} is '${!name}', expected true or false" ;; esac
    done
}

# words_of TEXT: its words in the array words; quotes and backslashes hold one together, as printf %q writes them.
words_of() { mapfile -d '' words < <(xargs -r printf '%s\0' <<<"$1"); }

# record_command "$@": the call of a run.sh as a reader can type it, exported for the results: run_command.
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

# own_options "NAME …" "$@": takes --NAME VALUE, or --NAME alone where the variable is false, out of the words of a run.sh and
# sets the variable; what remains is in the array rest. Records the command.
own_options() {
    local names=" $1 " name
    shift
    rest=()
    case " $* " in *" --help "* | *" -h "*) exec ../../TEMPLATE/router1/router.sh --help ;; esac
    record_command "$@"
    while [ $# -gt 0 ]; do
        name=${1#--}
        if [ "${name}" = "$1" ] || [ "${names#* "${name}" }" = "${names}" ]; then
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

# asked NAME DEFAULT: the value of --NAME among the words in the array rest, else the default
asked() {
    local found=$2 at words=("${rest[@]}")
    for at in "${!words[@]}"; do
        case ${words[at]//-/_} in "__$1") found=${words[at + 1]:-} ;; esac
    done
    echo "${found}"
}

# need_file FILE: an error that lists its neighbours where there is none
need_file() { [ -f "$1" ] || die "no $1; there are $(cd "$(dirname "$1")" && echo ./*.yaml)"; }
