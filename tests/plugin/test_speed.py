"""The real-time factor of a finished experiment: what is timed, and the arithmetic."""

import shutil

import pytest
import torch

from espnet_s3router.errors import InputError
from espnet_s3router.masks import masked_tensors
from espnet_s3router.plugin.deployment import encoding, speed
from espnet_s3router.plugin.deployment.finished import task_of

pytestmark = pytest.mark.filterwarnings("ignore")  # of ESPnet and s3prl

SECONDS = [0.5, 1.5]


@pytest.fixture
def clock(monkeypatch):
    """The models that encode. A recording of n seconds takes 0.1 n seconds of a made-up clock, and n in the first pass."""
    encoded, now = [], [0.0]

    def hidden_states(model, wave):
        now[0] += (1.0 if len(encoded) < len(SECONDS) else 0.1) * len(wave) / 1600 / 10
        encoded.append(model)

    monkeypatch.setattr(encoding, "hidden_states", hidden_states)
    monkeypatch.setattr(encoding.time, "perf_counter", lambda: now[0])
    return encoded


def test_plain_weights_are_timed(trained, clock):
    waves = [torch.zeros(int(16000 * seconds)) for seconds in SECONDS]
    run = trained("routing")
    assert speed.experiment_rtf(run, waves, "1epoch.pth") == pytest.approx(0.1)
    assert len(clock) == 4 * len(SECONDS) and not masked_tensors(clock[0].frontend.expert)
    assert task_of(run / "config.yaml") == "asr"
    with pytest.raises(InputError, match=r"none.pth: there is no such file"):
        speed.experiment_rtf(run, waves, "none.pth")


def test_a_smaller_model_is_timed_instead(trained, clock, tmp_path):
    shutil.copytree(trained("routing"), tmp_path / "exp")
    (tmp_path / "exp/shrunk").mkdir()
    shutil.copy(trained("finetune") / "config.yaml", tmp_path / "exp/shrunk")
    shutil.copy(trained("finetune") / "1epoch.pth", tmp_path / "exp/shrunk/model.pth")
    assert speed.experiment_rtf(tmp_path / "exp", [torch.zeros(8000)]) >= 0
    assert clock[0].frontend.attached.method == "finetune"
