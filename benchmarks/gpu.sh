#!/usr/bin/env bash
# All benchmarks that a GPU changes, in at most eight minutes; each prints one line of JSON. Ends at once without a GPU.
#   benchmarks/gpu.sh > gpu.jsonl       then its lines go to benchmarks/README.md, with card, commit and date
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=${PWD}${PYTHONPATH:+:${PYTHONPATH}}
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
card=$("${python}" -c 'import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else "")')
if [ -z "${card}" ]; then
    echo "gpu.sh: this machine has no GPU that PyTorch can use, so there is nothing to measure" >&2
    exit 0
fi
echo "{\"card\": \"${card}\", \"commit\": \"$(git rev-parse --short HEAD)\", \"date\": \"$(date +%F)\"}"
# NAME SECONDS COMMAND …: a benchmark that fails or takes too long leaves the others time
measure() {
    echo "gpu.sh: $1" >&2
    timeout "$2" "${python}" "${@:3}" --json --device cuda | sed "s/^{/{\"benchmark\": \"$1\", /" || echo "gpu.sh: $1 failed" >&2
}
measure step_bfloat16 150 benchmarks/step_time.py --xls_r --bfloat16 --memory
measure step_float32 150 benchmarks/step_time.py --xls_r
measure routes 120 benchmarks/routes.py --xls_r
measure two_four 60 benchmarks/two_four.py
