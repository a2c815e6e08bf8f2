"""The benchmark runs on a toy upstream and prints one line of JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
KEYS = {
    "finetune_s",
    "finetune_cnn_s",
    "head_only_s",
    "routing_s",
    "routing_all_s",
    "reference_s",
    "routing_cached_s",
    "routing_over_finetune",
    "routing_over_finetune_cnn",
    "routing_cached_over_finetune_cnn",
    "reference_over_routing",
    "selection_share",
    "peak_mb",
    "memory_routing_over_finetune",
    "memory_checkpointed_over_finetune",
    "long_peak_mb",
    "quiet",
}


def run(*options):
    """A process of its own: the benchmark forks, which must come before any parallel computation."""
    command = [sys.executable, str(ROOT / "benchmarks" / "step_time.py"), "--tiny", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # threads of a busy machine wait
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_one_line_with_all_figures():
    done = run("--json", "--rounds", "3", "--cache_frozen", "--memory")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    figures = json.loads(line)
    assert set(figures) == KEYS and isinstance(figures.pop("quiet"), bool)  # this machine may be busy
    assert set(figures["peak_mb"]) == {"finetune", "routing", "routing_all"}
    assert set(figures["long_peak_mb"]) == {"finetune", "routing", "routing_checkpointed", "toy"}
    numbers = [*figures.pop("peak_mb").values(), *figures.pop("long_peak_mb").values(), *figures.values()]
    assert all(number > 0 for number in numbers)
    assert figures["selection_share"] < 1
    assert figures["routing_over_finetune"] == pytest.approx(figures["routing_s"] / figures["finetune_s"], rel=1e-2)


@pytest.fixture
def arm(monkeypatch, tmp_path):
    """Makes the toy arm of a name."""
    pytest.importorskip("espnet2")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import arms

    arms.write_upstream(tmp_path / "upstream.pt", arms.TINY)
    return lambda name: arms.Arm(name, tmp_path / "upstream.pt", batch=2, seconds=0.5, device="cpu")


@pytest.mark.filterwarnings("ignore")
def test_the_baseline_trains_as_routing_does(arm):
    """The authors' algorithm is written anew: same masks, same loss and gradients, so only the time may differ."""
    ours, authors = arm("routing"), arm("reference")
    for module in (ours, authors):
        for _ in range(3):
            module.step()
    pairs = list(zip(ours.adam.param_groups[0]["params"], authors.adam.param_groups[0]["params"]))
    assert pairs
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs)


@pytest.mark.filterwarnings("ignore")
def test_every_step_selects_once(arm):
    """The timed step must contain the selection, and no second one."""
    routing = arm("routing")
    routing.step()
    routing.step()
    assert {masked.selections for masked in routing.frontend.attached.masks.values()} == {2}
    assert routing.selection_seconds > 0
