"""Checkpoint files are complete or absent (hazard 15), even if the process dies while it writes them."""

import subprocess
import sys

import pytest
import torch

from espnet_s3router.plugin.training.checkpoint_files import CHECKPOINT, PREVIOUS, separate_averages, whole_files


class Bomb:
    """Raises while it is pickled: the file is half written then."""

    def __reduce__(self):
        raise KeyboardInterrupt


def epoch(folder, number, fail=None):
    """What ESPnet saves at the end of an epoch; ``fail`` names the file whose writing is interrupted."""
    filler = torch.full((1000,), float(number))
    for name in (CHECKPOINT, f"{number}epoch.pth"):
        torch.save({"a": filler, "b": Bomb() if name == fail else number}, folder / name)


def numbers(folder):
    """Which epoch each file holds."""
    return {path.name: torch.load(path)["b"] for path in folder.iterdir()}


def test_files_of_two_epochs(tmp_path):
    with whole_files():
        epoch(tmp_path, 1)
        assert numbers(tmp_path) == {CHECKPOINT: 1, "1epoch.pth": 1}
        epoch(tmp_path, 2)
    assert numbers(tmp_path) == {CHECKPOINT: 2, PREVIOUS: 1, "1epoch.pth": 1, "2epoch.pth": 2}


@pytest.mark.parametrize("fail", [CHECKPOINT, "2epoch.pth"])
def test_interruption_leaves_the_last_epoch(fail, tmp_path):
    """Neither a half file nor a checkpoint that is ahead of its model file."""
    with pytest.raises(KeyboardInterrupt), whole_files():
        epoch(tmp_path, 1)
        epoch(tmp_path, 2, fail)
    left = {name: number for name, number in numbers(tmp_path).items() if not name.startswith(".")}
    assert left == {CHECKPOINT: 1, "1epoch.pth": 1}


def test_save_is_restored_and_other_targets_pass(tmp_path):
    import io

    plain = torch.save
    with pytest.raises(RuntimeError), whole_files():
        assert torch.save is not plain
        buffer = io.BytesIO()
        torch.save({"a": 1}, buffer)
        assert buffer.getvalue()
        raise RuntimeError
    assert torch.save is plain


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
for name in ("espnet2", "espnet2.train", "espnet2.train.trainer"):
    sys.modules[name] = type(sys)(name)  # saves the import of ESPnet, which this script does not need
import espnet_s3router
plugin = type(sys)("espnet_s3router.plugin")
plugin.__path__ = [str(Path(espnet_s3router.__file__).parent / "plugin")]
sys.modules["espnet_s3router.plugin"] = plugin
from espnet_s3router.plugin.training.checkpoint_files import whole_files

class Killer:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)

folder, victim = Path(sys.argv[1]), sys.argv[2]
with whole_files():
    for number in (1, 2):
        for name in ("checkpoint.pth", f"{number}epoch.pth"):
            state = {"a": torch.full((100000,), float(number)), "b": number}
            if number == 2 and name == victim:
                state["c"] = Killer()
            torch.save(state, folder / name)
"""


@pytest.mark.parametrize("victim", [CHECKPOINT, "2epoch.pth"])
def test_kill_leaves_the_last_epoch(victim, tmp_path):
    """SIGKILL in the middle of torch.save, in a process of its own."""
    script = tmp_path / "killed.py"
    script.write_text(KILLED, encoding="utf-8")
    folder = tmp_path / "exp"
    folder.mkdir()
    ended = subprocess.run([sys.executable, script, folder, victim], capture_output=True, text=True, timeout=120)
    assert ended.returncode == -9, ended.stderr
    for name in (CHECKPOINT, "1epoch.pth"):
        state = torch.load(folder / name)
        assert state["b"] == 1 and (state["a"] == 1.0).all()
    assert not (folder / "2epoch.pth").exists()
    # what is left over is invisible to ESPnet, and the next save replaces it
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {CHECKPOINT, "1epoch.pth"}
    with whole_files():
        epoch(folder, 2)
    assert {path.name for path in folder.iterdir()} == {CHECKPOINT, PREVIOUS, "1epoch.pth", "2epoch.pth"}


def test_each_average_is_its_own(tmp_path):
    """Two criteria and two sizes: ESPnet would sum up in the models that the next average is made of."""
    import espnet2.train.trainer
    from espnet2.train.reporter import Reporter

    class Ranked(Reporter):
        def has(self, *key):
            return key[1] != "none"

        def sort_epochs_and_values(self, phase, key, mode):
            return [(epoch, 0.0) for epoch in ((1, 2, 3) if key == "up" else (3, 2, 1))]

    for epoch in (1, 2, 3):
        torch.save({"a": torch.tensor([float(epoch)])}, tmp_path / f"{epoch}epoch.pth")
    plain = espnet2.train.trainer.average_nbest_models
    with separate_averages():
        espnet2.train.trainer.average_nbest_models(
            output_dir=tmp_path,
            reporter=Ranked(),
            best_model_criterion=[("valid", "up", "min"), ("valid", "none", "min"), ("valid", "down", "min")],
            nbest=[3, 2, 1, 5],
        )
    assert espnet2.train.trainer.average_nbest_models is plain
    found = {path.name: torch.load(path)["a"].item() for path in tmp_path.glob("valid.*")}
    assert found == {
        **{"valid.up.ave_3best.pth": 2.0, "valid.up.ave_2best.pth": 1.5, "valid.up.ave_1best.pth": 1.0},
        **{"valid.down.ave_3best.pth": 2.0, "valid.down.ave_2best.pth": 2.5, "valid.down.ave_1best.pth": 3.0},
        **{"valid.up.ave.pth": 2.0, "valid.down.ave.pth": 2.0},
    }


def test_averages_of_a_run_are_means_of_the_epochs_that_it_ranks_first(experiment, tmp_path):
    """By two criteria that rank them differently, of three and of two epochs; every tensor."""
    from espnet_s3router.plugin.training.task import S3RouterASRTask

    criteria = [["valid", "loss", "min"], ["train", "loss", "max"]]
    out = tmp_path / "exp"
    S3RouterASRTask.main(cmd=experiment(out=out, max_epoch=4, best_model_criterion=criteria, keep_nbest_models=[3, 2]))
    epochs = torch.load(out / CHECKPOINT, weights_only=False)["reporter"]["stats"]
    ranked = []
    for phase, key, mode in criteria:
        ranked.append(sorted(epochs, key=lambda epoch: epochs[epoch][phase][key], reverse=mode == "max"))
        for count in (3, 2):
            average = torch.load(out / f"{phase}.{key}.ave_{count}best.pth")
            models = [torch.load(out / f"{epoch}epoch.pth") for epoch in ranked[-1][:count]]
            assert "ctc.ctc_lo.weight" in average
            for name, tensor in average.items():
                given = [model[name].abs() if name.endswith(".scores") else model[name] for model in models]
                mean = torch.stack(given).mean(0)
                torch.testing.assert_close(tensor, mean, msg=f"{phase}.{key} {count} {name}")
    assert ranked[0] != ranked[1]
