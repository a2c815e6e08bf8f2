#!/usr/bin/env bash
# Smoke test on Python 3.12, or on 3.11 if the other tests run on 3.12: import, register, train an epoch, decode, bake, and
# load the result in ESPnet without this package. On 3.12 it runs the recipe of espnet3, too. It passes with a message if there is
# no such Python or too little disk space.
#   OTHER_PYTHON   interpreter to use
set -euo pipefail
cd "$(dirname "$0")/.."
other=3.12
[ "$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = 3.11 ] || other=3.11
interpreter=${OTHER_PYTHON:-}
for candidate in "python${other}" "${PYENV_ROOT:-${HOME}/.pyenv}"/versions/"${other}".*/bin/python"${other}"; do
    [ -n "${interpreter}" ] || ! "${candidate}" -c 'import venv' 2>/dev/null || interpreter=${candidate}
done
if [ -z "${interpreter}" ]; then
    echo "smoke: left out, there is no Python ${other} here (OTHER_PYTHON=/path/to/one)"
    exit 0
fi
shortage=$(PYTHON=${interpreter} bash ./install.sh --shortage)
if [ -n "${shortage}" ]; then
    echo "smoke: left out, ${shortage}"
    exit 0
fi
unset VIRTUAL_ENV
PYTHON=${interpreter}
. ./install.sh
python -m pytest -q tests/recipes/test_smoke.py tests/systems
