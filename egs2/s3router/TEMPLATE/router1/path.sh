# shellcheck shell=bash
# Puts the project's environment and packages on the path.
S3ROUTER_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../../.." && pwd)
export S3ROUTER_ROOT
if [ -z "${VIRTUAL_ENV:-}" ] && [ -x "${S3ROUTER_ROOT}/.venv/bin/python" ]; then
    PATH="${S3ROUTER_ROOT}/.venv/bin:${PATH}"
fi
export PATH
export PYTHONPATH="${S3ROUTER_ROOT}${PYTHONPATH:+:${PYTHONPATH}}"
export LC_ALL=C.UTF-8
export TOKENIZERS_PARALLELISM=false
# Threads of libgomp that wait for each other keep their cores busy by default. On a machine with other work, two threads are
# then several times slower than one. After a short wait they sleep instead, which costs training nothing.
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-1000}
