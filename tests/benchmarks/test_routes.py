"""The benchmark of route files runs on toy masks and prints one line of JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_one_line_with_all_figures(tmp_path):
    (identified := tmp_path / "identified.json").write_text(json.dumps({"accuracy_from_2_s": 0.96, "accuracy": 0.8}))
    command = [sys.executable, str(ROOT / "benchmarks" / "routes.py"), "--tiny", "--json", "--rounds", "3"]
    command += ["--identified", str(identified)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # threads of a busy machine wait
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    figures = json.loads(line)
    assert isinstance(figures.pop("quiet"), bool)  # this machine may be busy
    assert isinstance(figures.pop("switching_quiet"), bool)
    assert isinstance(figures.pop("candidates_quiet"), bool)
    expected = {"bytes_over_own_entropy", "bits_per_connection_best", "decode_s", "eleven_over_models", "switch_over_copy"}
    expected |= {"base_mb", "route_mb", "hundred_routes_mb", "hundred_routes_over_sum", "restore_identical", "growth_mb"}
    expected |= {"candidates_step_over_finetune", "candidates_step_over_routing", "candidates_state_ratio"}
    assert figures.pop("auto_accuracy") == 0.96
    assert set(figures) == expected and figures["restore_identical"] is True
    assert figures["candidates_state_ratio"] == pytest.approx((0.25 * 16 + 0.25 * 2) / 16, rel=0.01)
    assert figures["bytes_over_own_entropy"] > 1 and figures["decode_s"] > 0
