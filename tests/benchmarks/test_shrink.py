"""The benchmark of structured pruning runs on a toy and prints one line of JSON."""

import importlib
import json
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")  # ESPnet and s3prl, and the exporter of torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
KEYS = {
    "target_error",
    "recorded",
    "gated_max_abs",
    "gated_max_abs_float64",
    "speedup_torch",
    "speedup_torch_trained_shape",
    "onnx_over_torch",
    "int8_over_onnx",
    "vnni",
    "gate_step_over_finetune",
    "quiet",
}


@pytest.fixture
def run(monkeypatch, capsys):
    """run(*options) -> what the benchmark prints. It runs in this process, which has imported ESPnet before."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(sys, "path", list(sys.path))

    def call(*options):
        monkeypatch.setattr(sys, "argv", ["shrink.py", "--tiny", "--rounds", "3", *options])
        importlib.import_module("shrink").main()
        return capsys.readouterr().out

    return call


def test_one_line_with_all_figures(run, tmp_path):
    """With the sizes of a trained run."""
    widths = tmp_path / "widths.json"
    sizes = {"channels": [8, 7, 6, 5, 4, 3, 2], "heads": [0, 2], "inner": [32, 1]}
    widths.write_text(json.dumps({"pruned": {"widths": sizes}}), encoding="utf-8")
    (line,) = run("--json", "--widths", str(widths)).splitlines()
    figures = json.loads(line)
    assert set(figures) == KEYS
    assert all(isinstance(figures[name], bool) for name in ("quiet", "vnni", "recorded"))  # this machine may be busy
    for key, limit in (("gated_max_abs", 1e-5), ("gated_max_abs_float64", 1e-9)):
        assert set(figures[key]) == {"fairseq", "huggingface", "torchaudio", "whisper"}
        assert all(0 <= worst <= limit for worst in figures[key].values())
    times = ("speedup_torch", "speedup_torch_trained_shape", "onnx_over_torch", "int8_over_onnx")
    assert set(figures["speedup_torch"]) <= {"1", "2"}
    for key in times:
        assert set(figures[key]) == set(figures["speedup_torch"]) and all(ratio > 0 for ratio in figures[key].values())
    assert 0 < figures["target_error"] < 0.2  # the toy has few units
    assert figures["gate_step_over_finetune"] > 0
