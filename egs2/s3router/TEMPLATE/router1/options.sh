# shellcheck shell=bash
# Options of the scripts, sourced by them.

log() { echo "$(date '+%H:%M:%S') $*"; }
die() { echo "error: $*" >&2; exit 2; }

# parse_options FILE "$@": an option is a variable that FILE sets at the beginning of a line above its line run_args=…;
# --a-b and --a_b alike; anything else is an error. --help prints those lines.
parse_options() {
    local file=$1 known name
    shift
    known=" $(sed -n '/^run_args=/q; s/^\([a-z_0-9]*\)=.*/\1/p' "${file}" | tr '\n' ' ')"
    while [ $# -gt 0 ]; do
        case $1 in
        -h | --help)
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

# own_options "NAME …" "$@": takes --NAME VALUE, or --NAME alone where the variable is false, out of the words of a run.sh and
# sets the variable; what remains is in the array rest.
own_options() {
    local names=" $1 " name
    shift
    rest=()
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

# need_file FILE: an error that lists its neighbours where there is none
need_file() { [ -f "$1" ] || die "no $1; there are $(cd "$(dirname "$1")" && echo ./*.yaml)"; }
