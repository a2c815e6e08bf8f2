#!/usr/bin/env bash
# Import, register, train an epoch, decode, bake and load in stock ESPnet, on whichever of Python 3.11 and 3.12 the tests
# did not run on. Says so and passes where there is no interpreter or no space for a second environment.
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
free_gb=$(($(df -Pk . | awk 'NR == 2 { print $4 }') / 1024 / 1024))
if [ ! -f ".venv-${other}/.installed" ] && [ "${free_gb}" -lt 10 ]; then
    echo "smoke: left out, ${free_gb} GB free, expected 10 for the environment of Python ${other}"
    exit 0
fi
unset VIRTUAL_ENV
PYTHON=${interpreter}
. ./install.sh
python -m pytest -q tests/recipes/test_smoke.py
