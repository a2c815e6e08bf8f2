"""The benchmark of structured pruning runs on a toy and prints one line of JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEYS = {
    "target_error",
    "gated_max_abs",
    "speedup_torch",
    "speedup_torch_trained_shape",
    "gate_step_over_finetune",
    "quiet",
}


def run(*options):
    command = [sys.executable, str(ROOT / "benchmarks" / "shrink.py"), "--tiny", "--rounds", "3", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_one_line_with_all_figures(tmp_path):
    """With the sizes of a trained run."""
    widths = tmp_path / "widths.json"
    sizes = {"channels": [8, 7, 6, 5, 4, 3, 2], "heads": [0, 2], "inner": [32, 1]}
    widths.write_text(json.dumps({"pruned": {"widths": sizes}}), encoding="utf-8")
    done = run("--json", "--widths", str(widths))
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    figures = json.loads(line)
    assert set(figures) == KEYS and isinstance(figures["quiet"], bool)  # this machine may be busy
    assert set(figures["gated_max_abs"]) == {"fairseq", "huggingface", "torchaudio", "whisper"}
    assert all(0 <= worst <= 1e-5 for worst in figures["gated_max_abs"].values())
    assert set(figures["speedup_torch"]) == set(figures["speedup_torch_trained_shape"]) <= {"1", "2"}
    assert 0 < figures["target_error"] < 0.2  # the toy has few units
    assert figures["gate_step_over_finetune"] > 0
