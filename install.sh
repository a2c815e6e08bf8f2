#!/usr/bin/env bash
# Makes the Python environment, unless it is complete. run_all.sh and tests/run.sh source this file.
#   PYTHON                     interpreter to use (3.11, 3.12 or 3.13); default: that of .venv, else python3
#   bash install.sh --shortage prints the disk space that is missing for the environment, or nothing
# Exports VIRTUAL_ENV and PATH. The environment is .venv, or .venv-3.x if .venv belongs to another Python version.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

stop() {
    echo "install: $*" >&2
    exit 1
}

# version_of INTERPRETER -> 3.11
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

choose_python() {
    venv=${root}/.venv
    if [ -n "${PYTHON:-}" ]; then
        command -v "${PYTHON}" >/dev/null || stop "PYTHON is '${PYTHON}', and there is no such interpreter"
    elif [ -x "${venv}/bin/python" ]; then
        PYTHON=${venv}/bin/python
    else
        PYTHON=python3
        command -v python3 >/dev/null || stop "no python3 found: install Python 3.11, 3.12 or 3.13, or set PYTHON=/path/to/it"
    fi
    version=$(version_of "${PYTHON}")
    case ${version} in
        3.11 | 3.12 | 3.13) ;;
        *) stop "${PYTHON} is Python ${version}, expected 3.11, 3.12 or 3.13 (the versions that ESPnet supports): set PYTHON=/path/to/one" ;;
    esac
}

choose_environment() {
    if [ -x "${venv}/bin/python" ] && [ "$(version_of "${venv}/bin/python")" != "${version}" ]; then venv=${root}/.venv-${version}; fi
    constraints=${root}/constraints/python3.11.txt
    [ "${version}" = 3.11 ] || constraints=${root}/constraints/python3.12.txt
    stamp="$(cat "${root}/setup.py" "${constraints}" | cksum) ${root}"
}

is_installed() { [ "$(cat "${venv}/.installed" 2>/dev/null)" = "${stamp}" ]; }

# Prints a message if the disk is too small for one environment. The files of an interrupted installation count as free space.
shortage() {
    local free_gb there_gb=0 need_gb=10
    free_gb=$(($(df -Pk "${root}" | awk 'NR == 2 { print $4 }') / 1024 / 1024))
    [ ! -d "${venv}" ] || there_gb=$(($(du -sk "${venv}" | cut -f 1) / 1024 / 1024))
    [ $((free_gb + there_gb)) -ge "${need_gb}" ] ||
        echo "${root} has ${free_gb} GB free, expected ${need_gb} GB for one environment (torch with CUDA is large)"
}

install_packages() {
    local message log=${venv}/install.log
    message=$(shortage)
    [ -z "${message}" ] || stop "${message}"
    [ -x "${venv}/bin/python" ] || "${PYTHON}" -m venv "${venv}" || stop "could not make ${venv}: is the venv module of ${PYTHON} installed?"
    echo "install: ESPnet, s3prl and PyTorch into ${venv#"${root}"/}, about 6 GB and 3 to 5 minutes; log in ${log#"${root}"/}"
    # pip is not upgraded: newer versions refuse espnet 202511, whose dependency ci_sdr is given by a URL
    "${venv}/bin/python" -m pip install --progress-bar off -c "${constraints}" -e "${root}[test]" >"${log}" 2>&1 &
    local pip=$! seconds=0
    # Ctrl-C does not reach a background job
    trap 'kill "${pip}" 2>/dev/null; echo "install: interrupted; run the same command again" >&2; exit 130' INT TERM
    while kill -0 "${pip}" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        [ $((seconds % 20)) -ne 0 ] || echo "install: ${seconds} s, $(tail -n 1 "${log}" | cut -c 1-100)"
    done
    trap - INT TERM
    wait "${pip}" || {
        tail -n 15 "${log}" >&2
        stop "pip failed; the whole log is ${log}. Remove the cause and run the same command again"
    }
    echo "${stamp}" >"${venv}/.installed"
}

[ "${BASH_VERSINFO[0]}" -ge 4 ] || stop "this is bash ${BASH_VERSION}, expected 4 or later"
choose_python
choose_environment
if [ "${BASH_SOURCE[0]}" = "$0" ] && [ "${1:-}" = --shortage ]; then
    is_installed || shortage
    exit 0
fi
is_installed || install_packages
export VIRTUAL_ENV=${venv}
export PATH=${venv}/bin:${PATH}
