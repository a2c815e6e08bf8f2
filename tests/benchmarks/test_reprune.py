"""The benchmark runs on a toy upstream and prints one line of JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KEYS = {"update_s", "reprune_s", "reprune_share", "reprune_matrix_share", "remask_share", "hold_share", "quiet"}


def run(*options):
    command = [sys.executable, str(ROOT / "benchmarks" / "reprune.py"), "--tiny", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # threads of a busy machine wait
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_one_line_with_all_figures():
    done = run("--json", "--rounds", "3")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    figures = json.loads(line)
    assert set(figures) == KEYS and isinstance(figures.pop("quiet"), bool)  # this machine may be busy
    assert all(value > 0 for value in figures.values())
    assert figures["reprune_share"] == pytest.approx(figures["reprune_s"] / (50 * figures["update_s"]), rel=1e-2)


@pytest.mark.filterwarnings("ignore")
def test_what_is_timed_prunes(monkeypatch, tmp_path):
    """The timed call selects among weights that have moved, and a usual one does not."""
    pytest.importorskip("espnet2")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import arms
    import reprune

    arms.write_upstream(tmp_path / "upstream.pt", arms.TINY)
    arm = arms.Arm("parp", tmp_path / "upstream.pt", batch=2, seconds=0.5, device="cpu")
    zeros = sum(int((~mask).sum()) for mask in arm.attached.kept().values())
    arm.step()
    for update, pruned in ((49, False), (50, True)):
        assert reprune.after(arm, update) > 0
        now = sum(int((~mask).sum()) for mask in arm.attached.kept().values())
        assert (now == zeros) == pruned
