#!/usr/bin/env bash
# Smoke test on Python 3.12, or on 3.11 if the other tests run on 3.12: the wheel is built and installed beside the other
# packages, and in an empty folder it lays out the recipes and runs one of them for an epoch. Then its model is packed, baked, and
# loaded in ESPnet without this package. On 3.12 the recipe of espnet3 runs, too. It passes with a message if there is no such
# Python or too little disk space.
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

# The environment of the checkout has this package as a link to it. This one has the wheel, and sees the other packages behind it.
# addsitedir also reads their .pth files: on Python 3.12, distutils comes from that of setuptools.
work=$(mktemp -d)
trap 'rm -rf "${work}"' EXIT
wheel=$(python tests/build_wheel.py "${work}")
python -m venv "${work}/installed"
packages=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "import site; site.addsitedir('${packages}')" >"$("${work}/installed/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/packages.pth"
"${work}/installed/bin/python" -m pip install -q --no-index --no-deps "${wheel}"

WHEEL_PYTHON=${work}/installed/bin/python python -m pytest -q tests/recipes/test_smoke.py tests/systems
