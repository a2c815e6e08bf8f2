"""The benchmark of the SLU step runs on a toy upstream and prints one line of JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_one_line_with_all_figures():
    pytest.importorskip("espnet2")
    command = [sys.executable, str(ROOT / "benchmarks/slu_step.py"), "--tiny", "--json", "--rounds", "3"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # threads of a busy machine wait
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    figures, ours = json.loads(line), ("finetune", "finetune_cnn", "routing")
    assert isinstance(figures.pop("quiet"), bool)
    assert figures.keys() == {"espnet_s"} | {f"{arm}_{unit}" for arm in ours for unit in ("s", "over_espnet")}
    assert all(number > 0 for number in figures.values())
    assert figures["routing_over_espnet"] == pytest.approx(figures["routing_s"] / figures["espnet_s"], rel=1e-2)
