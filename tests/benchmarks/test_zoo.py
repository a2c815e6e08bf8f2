"""The benchmark of packs runs on a toy upstream and prints one line of JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_one_line_with_all_figures():
    command = [sys.executable, str(ROOT / "benchmarks/zoo.py"), "--tiny", "--json", "--rounds", "3"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    figures = json.loads(line)
    assert isinstance(figures.pop("quiet"), bool)  # this machine may be busy
    assert figures.keys() == {"from_pretrained_s", "help_s", "five_routes_over_sum", "wheel_mb"}
    assert 1 < figures["five_routes_over_sum"] <= 1.5
    assert 1 < figures["wheel_mb"] <= 15
    assert figures["from_pretrained_s"] > 0 and figures["help_s"] > 0
