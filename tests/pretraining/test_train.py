"""Training: it learns, a resumed run ends with the same model, and other libraries load the result."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from espnet_s3router.pretraining import curves, train
from espnet_s3router.pretraining.__main__ import main
from espnet_s3router.pretraining.config import Config
from espnet_s3router.pretraining.features import hidden_states
from espnet_s3router.pretraining.model import MaskConfig, MaskedPrediction, mel_filters, span_mask
from tests.pretraining.conftest import SHAPE

CONFIG = {"model": SHAPE, "batch": {"seconds": 6.0, "crop_seconds": 1.5}, "optim": {"lr": 5e-3}, "seed": 1}


def command(*words):
    return main(list(map(str, words)))


@pytest.fixture
def run(tmp_path, dump, labels_folder, monkeypatch):
    """run(name, *options) trains in a folder of that name and returns (exit status, folder)."""
    monkeypatch.setattr(train, "LOG_EVERY", 10)
    monkeypatch.setattr(train, "SAVE_EVERY", 10)
    (tmp_path / "conf.yaml").write_text(yaml.safe_dump(CONFIG))

    def call(name, *options, updates=20):
        words = ["--config", tmp_path / "conf.yaml", "--store", dump, "--labels", labels_folder]
        words += ["--output", tmp_path / name, "--updates", updates, "--no-autocast", *options]
        return command("train", *words), tmp_path / name

    return call


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint.pth", weights_only=True)["model"]


def test_masked_clusters_are_learned(run):
    status, folder = run("long", updates=120)
    assert status == 0
    rows = curves.read_log(folder)
    assert rows[-1]["dev_masked_accuracy"] > rows[0]["dev_masked_accuracy"] + 0.05
    assert rows[-1]["dev_loss"] < rows[0]["dev_loss"]


def test_an_interrupted_run_ends_with_the_same_model(run, monkeypatch):
    _, whole = run("whole")
    plain = train.Training.step

    def killed(self):
        if self.update == 14:
            raise KeyboardInterrupt
        return plain(self)

    monkeypatch.setattr(train.Training, "step", killed)
    assert run("resumed")[0] == 130
    monkeypatch.setattr(train.Training, "step", plain)
    status, resumed = run("resumed")
    assert status == 0
    ours, theirs = weights(resumed), weights(whole)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    columns = [[line.split("\t")[:7] for line in (f / "log.tsv").read_text().splitlines()] for f in (whole, resumed)]
    assert [row[0] for row in columns[0]] == [row[0] for row in columns[1]] == ["update", "10", "20"]
    assert run("resumed")[0] == 0  # nothing is left to do


def test_resuming_another_run_is_refused(run, capsys):
    run("one")
    assert run("one", updates=30)[0] == 1
    assert "updates 20, now it is 30" in capsys.readouterr().err


def test_hours_shorten_the_schedule(run, monkeypatch):
    monkeypatch.setattr(train, "LOG_EVERY", 1)
    status, folder = run("short", "--max_hours", "0.0005", updates=100000)
    assert status == 0
    rows = curves.read_log(folder)
    assert rows[-1]["hours"] >= 0.0005
    peak = max(row["lr"] for row in rows)
    assert peak > 0.5 * 5e-3 and rows[-1]["lr"] < 0.5 * peak  # it rose and fell


def test_the_second_iteration_clusters_hidden_states_and_starts_from_the_first(run, tmp_path, store, dump, capsys):
    _, first = run("hubert1")
    words = [dump, tmp_path / "labels2", "--clusters", 6, "--model", first / "hf", "--layer", 1]
    assert command("clusters", *words) == 0
    assert json.loads((tmp_path / "labels2" / "about.json").read_text())["layer"] == 1
    status, second = run("hubert2", "--labels", tmp_path / "labels2", "--init", first / "hf")
    assert status == 0
    arguments = [tmp_path / "mini", "--iterations", first, second, "--store", dump]
    assert command("card", *arguments) == 0
    text = (tmp_path / "mini" / "MODEL_CARD.md").read_text()
    assert "Iteration 2 from the weights of hubert1" in text and f"{store.hours:.2f} h" in text
    assert command("curves", first, second, "--output", tmp_path / "curves.png") == 0
    assert (tmp_path / "curves.png").stat().st_size > 5000
    assert command("clusters", *words[:-1], 9) == 1
    assert "layer is 9, expected 1 to 2" in capsys.readouterr().err


def test_labels_and_runs_follow_a_new_model_in_the_same_folder(run, tmp_path, dump, capsys):
    """Labels are made again and a run is refused: neither belongs to the new model."""
    _, first = run("hubert1")
    labels = tmp_path / "labels2"
    words = [dump, labels, "--clusters", 6, "--model", first / "hf", "--layer", 1]
    options = ("--labels", labels, "--init", first / "hf")
    assert command("clusters", *words) == 0 and run("hubert2", *options)[0] == 0
    before = labels.stat().st_ino
    assert command("clusters", *words) == 0 and labels.stat().st_ino == before  # the same model: kept
    shutil.rmtree(first)
    run("hubert1", updates=10)
    assert run("hubert2", *options)[0] == 1
    assert "holds a run with init_weights" in capsys.readouterr().err
    assert command("clusters", *words) == 0 and labels.stat().st_ino != before


def test_a_run_is_refused_if_its_targets_have_changed(run, tmp_path, labels_folder, capsys):
    """Another machine may number the same clusters differently."""
    labels = shutil.copytree(labels_folder, tmp_path / "labels")
    run("one", "--labels", labels, updates=10)
    np.save(labels / "labels.npy", (np.load(labels / "labels.npy") + 1) % 8)
    (tmp_path / "one/hf/config.json").unlink()  # as if it had been interrupted
    assert run("one", "--labels", labels, updates=10)[0] == 1
    assert "holds a run with targets" in capsys.readouterr().err


def test_labels_that_a_run_is_trained_on_are_not_replaced(run, tmp_path, dump, labels_folder, capsys):
    """A command with other options is refused in the same folder."""
    labels = shutil.copytree(labels_folder, tmp_path / "labels")
    words = [dump, labels, "--run", tmp_path / "one", "--clusters"]
    before = (labels / "labels.npy").stat().st_ino
    run("one", "--labels", labels, updates=10)
    assert command("clusters", *words, 8) == 0
    assert command("clusters", *words, 9) == 1 and (labels / "labels.npy").stat().st_ino == before
    assert f"{tmp_path / 'one'} was trained on {labels}, whose clusters is 8, now it is 9" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(run, capsys):
    status, folder = run("gpu", "--device", "cuda")
    assert status == 1 and not folder.exists()
    assert "--device is cuda, and PyTorch finds no GPU" in capsys.readouterr().err


def test_the_exported_model_is_the_trained_one(run, store):
    """It is float32 when loaded, with the hidden states of the model in memory to half precision."""
    from transformers import HubertModel

    _, folder = run("exported")
    loaded = HubertModel.from_pretrained(folder / "hf").eval()
    assert next(loaded.parameters()).dtype == torch.float32
    model = MaskedPrediction(SHAPE, 8, MaskConfig()).eval()
    model.load_state_dict(weights(folder))
    audio = torch.from_numpy(store.waveform(store.utterances[0]))[None]
    with torch.no_grad():
        assert torch.allclose(loaded(audio)[0], model.hubert(audio)[0], atol=2e-2)
    features = hidden_states(folder / "hf", 1)(audio[0].numpy())
    assert features.shape == (loaded(audio)[0].shape[1], SHAPE["hidden_size"])


def test_a_transformer_on_log_mels_has_the_shape_of_the_hubert(tmp_path):
    """A comparison with it then shows the worth of pretraining, not of size."""
    from espnet_s3router.plugin.frontend import MaskedUpstream

    (tmp_path / "conf.yaml").write_text(yaml.safe_dump({"model": SHAPE}))
    assert command("export", tmp_path / "conf.yaml", tmp_path / "log_mel", "--log_mel") == 0
    source = {"upstream": "hf_whisper_custom", "path_or_url": str(tmp_path / "log_mel")}
    frontend = MaskedUpstream(frontend_conf=source, mask_conf={"method": "finetune", "train_cnn": True})
    hidden, _ = frontend(torch.randn(1, 16000), torch.tensor([16000]))
    assert hidden.shape == (1, 50, SHAPE["hidden_size"])
    model = frontend.upstream.upstream.model
    assert len(model.encoder.layers) == SHAPE["num_hidden_layers"]
    assert model.encoder.layers[0].fc1.weight.shape == (SHAPE["intermediate_size"], SHAPE["hidden_size"])
    assert model.extractor.conv1.weight.requires_grad and model.extractor.conv1.weight.shape[1] == 80


def test_a_start_from_another_shape_is_refused(run, tmp_path, capsys):
    small = {**SHAPE, "hidden_size": 8}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({"model": small}))
    assert command("export", tmp_path / "small.yaml", tmp_path / "small") == 0
    assert run("other", "--init", tmp_path / "small")[0] == 1
    assert "same shape" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": {**SHAPE, "hidden": 3}}, "no key of transformers' HubertConfig"),
        ({"model": {**SHAPE, "conv_stride": [5, 2, 2, 2, 2, 2, 1]}}, "every 160, expected 400 every 320"),
        ({"model": {**SHAPE, "conv_kernel": [10, 3, 3, 3, 3, 2, 3]}}, "frames of 560 samples every 320, expected 400"),
        ({"mask": {"prob": 0.0}}, "prob in"),
        ({"optim": {"lr": 0}}, "lr is 0"),
        ({"batches": {}}, "unexpected keyword"),
    ],
)
def test_bad_configurations_are_refused(run, tmp_path, change, said, capsys):
    (tmp_path / "conf.yaml").write_text(yaml.safe_dump({**CONFIG, **change}))
    status, folder = run("bad")
    assert status == 1 and said in capsys.readouterr().err
    assert not folder.exists()  # a folder would refuse the corrected configuration
    assert command("config", tmp_path / "conf.yaml") == 1 and said in capsys.readouterr().err  # before any other stage


def test_the_recipe_has_a_good_configuration():
    ours = Config.read(Path(__file__).parents[2] / "egs2/s3router/ssl/ssl1/conf/hubert_mini.yaml")
    model = MaskedPrediction(ours.model, 100, ours.mask, mel_start=ours.mel_start)
    assert sum(p.numel() for p in model.hubert.parameters()) * 2 < 30 * 2**20  # bytes in half precision


def test_mel_filters_are_bands():
    """Each filter passes its own frequency, rectified phases sum to about the same whatever the phase of the sound."""
    filters = mel_filters(64, 240)
    assert filters.shape == (64, 240)
    spectrum = torch.fft.rfft(filters, 16000).abs()  # a bin a hertz
    peaks = spectrum.argmax(dim=1).reshape(16, 4)
    assert (peaks[1:].float().std(dim=1) < 2).all() and (peaks.float().mean(dim=1).diff() > 0).all()
    time = torch.arange(240) / 16000
    hertz = float(peaks[8, 0])
    waves = torch.stack([torch.cos(2 * math.pi * hertz * time + phase) for phase in (0.0, 0.4, 1.0, 2.0)])
    sums = (waves @ filters[32:36].T).relu().sum(dim=1)
    assert sums.max() / sums.min() < 1.5


def test_spans_mask_about_the_requested_share():
    rng = np.random.default_rng(0)
    mask = span_mask(200, 300, MaskConfig(prob=0.65, length=10), rng)
    assert mask.float().mean() == pytest.approx(1 - np.exp(-0.65), abs=0.03)  # spans overlap
    assert span_mask(3, 5, MaskConfig(), rng).all()  # shorter than a span
