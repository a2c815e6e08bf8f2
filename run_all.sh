#!/usr/bin/env bash
# Sets up what is missing and runs the main job to a table and a plot.
#   ./run_all.sh                                     the main job: asterisk/asr1, half an hour on two cores
#   ./run_all.sh --only librilight/asr1 [options]    another recipe, with any option of its run.sh
#   ./run_all.sh --all                               every recipe with a corpus on this machine, half a day on two cores; lists the others
#   PYTHON=python3.12 ./run_all.sh                   with another Python (3.11 to 3.13)
set -euo pipefail
corpora=$(sed -n 's/^\([A-Z_0-9]*\)=.*/\1/p' "$(dirname "$0")/egs2/s3router/TEMPLATE/router1/db.sh")
for name in ${corpora}; do # absolute paths: recipes change the working folder
    [ ! -d "${!name:-}" ] || export "${name}=$(cd "${!name}" && pwd)"
done
cd "$(dirname "$0")"
recipes=$(cd egs2/s3router && find . -mindepth 3 -maxdepth 3 -name run.sh | sed 's|^\./||; s|/run.sh$||' | sort)

only=asterisk/asr1
case ${1:-} in
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --only)
        [ $# -ge 2 ] || { echo "run_all: --only needs a recipe, one of: ${recipes//$'\n'/ }" >&2; exit 2; }
        only=$2
        shift 2
        [ -x "egs2/s3router/${only}/run.sh" ] || { echo "run_all: no recipe '${only}', expected one of: ${recipes//$'\n'/ }" >&2; exit 2; }
        ;;
    --all) only= ; shift ;;
    --* | '') ;;
    *) echo "run_all: unexpected argument '$1'; see --help" >&2; exit 2 ;;
esac

. ./install.sh
if [ -n "${only}" ]; then exec "egs2/s3router/${only}/run.sh" "$@"; fi
failed=
for recipe in ${recipes}; do
    if found=$("egs2/s3router/${recipe}/run.sh" --check_corpus true 2>&1); then
        echo "== ${recipe}"
        echo "${found}"
        "egs2/s3router/${recipe}/run.sh" "$@" || failed+=" ${recipe}"
    else
        echo "== ${recipe}: left out. ${found}"
    fi
done
[ -z "${failed}" ] || { echo "run_all: failed:${failed}" >&2; exit 1; }
