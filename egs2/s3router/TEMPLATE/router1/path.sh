# shellcheck shell=bash
# Puts the project's environment and packages on the path; sourced by run.sh in a recipe directory.
S3ROUTER_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../../.." && pwd)
export S3ROUTER_ROOT
if [ -z "${VIRTUAL_ENV:-}" ] && [ -x "${S3ROUTER_ROOT}/.venv/bin/python" ]; then
    PATH="${S3ROUTER_ROOT}/.venv/bin:${PATH}"
fi
export PATH
export PYTHONPATH="${S3ROUTER_ROOT}${PYTHONPATH:+:${PYTHONPATH}}"
export LC_ALL=C.UTF-8
export TOKENIZERS_PARALLELISM=false
# Threads of libgomp that wait for each other keep their cores busy by default. Where something else runs beside, that makes two
# threads several times slower than one; after a short wait they sleep instead, which costs training nothing.
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-1000}
