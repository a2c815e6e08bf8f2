"""Intents from texts, on a tiny random BERT and XLNet: every method, from data directories to the page."""

import json

import pytest
import torch
from toy_text_models import write_text_model, write_tokeniser

from espnet_s3router.methods import METHODS
from espnet_s3router.results.rows import read_rows
from espnet_s3router.text_intents.__main__ import main

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers

TEXTS = {"ON": ["lights on please", "turn it on"], "OFF": ["lights off now", "switch it off"], "RED": ["make it red"]}
CONF = """
head_only: {mask_conf: {method: head_only}}
finetune: {mask_conf: {method: finetune}}
routing: {mask_conf: {method: routing}, lr: 0.05}
parp: {mask_conf: {method: parp, targets: all, interval: 4}}
omp: {mask_conf: {method: omp, targets: all, start: dense}}
imp: {mask_conf: {method: imp, targets: all, start: dense, rounds: 2}}
unknown: {mask_conf: {method: routng}}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A recipe folder with data, configuration and two models."""
    monkeypatch.chdir(tmp_path)
    lines = [
        f"{intent}{number}-{copy} {intent} {text}"
        for intent, texts in TEXTS.items()
        for number, text in enumerate(texts)
        for copy in (0, 1)
    ]
    for name in ("train", "dev", "test"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "text").write_text("\n".join(sorted(lines)) + "\n")
    (tmp_path / "text.yaml").write_text(CONF)
    for name in ("Bert", "XLNet"):
        size = write_tokeniser(tmp_path / name, [text for texts in TEXTS.values() for text in texts])
        write_text_model(tmp_path / name, name, vocab_size=size)
    return tmp_path


def words(model, *methods, **changes):
    options = {
        "recipe": "toy/text1",
        "model": model,
        "methods_config": "text.yaml",
        "methods": " ".join(methods),
        "epochs": 8,
    }
    options |= {"batch_size": 4, "lr": 0.01, "head_lr": 0.05, "sparsities": "0.25", "stage": 11} | changes
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


@pytest.mark.parametrize("model", ["Bert", "XLNet"])
def test_every_method_learns_and_is_sparse(here, model, capsys):
    """What trains reaches the texts that it has seen; masks and pruned weights have the exact number of zeros."""
    methods = ("imp", "omp", "parp", "routing", "finetune")
    assert main(words(model, *methods, results_md="RESULTS.md")) == 0
    rows = {(row.method, row.set, row.metric): row for row in read_rows(here / "exp/results.tsv")}
    for method in methods:
        row = rows[method, "test", "accuracy"]
        assert row.value >= 60 and row.updates == 8 * 3, (method, row.value)
        assert row.sparsity == (0.25 if METHODS[method].sparse else None)
    assert rows["finetune", "dev", "accuracy"].value == 100
    dense, masked = (rows[method, "test", "accuracy"] for method in ("finetune", "routing"))
    assert masked.params_total == dense.params_total and masked.bytes_added < dense.bytes_added / 10
    for method in ("omp", "imp", "parp"):
        layers = torch.load(here / f"exp/text_{method}_s0.25_seed0/model.pt", weights_only=True)["layers"]
        own = {name: tensor for name, tensor in layers.items() if name.startswith("layer.") and tensor.dim() >= 2}
        matrices = [tensor for name, tensor in own.items() if "seg_embed" not in name and "bias" not in name]
        zeros, entries = sum(int((m == 0).sum()) for m in matrices), sum(m.numel() for m in matrices)
        assert zeros == entries // 4, (method, zeros, entries)
    page = (here / "RESULTS.md").read_text()
    assert "ACCURACY test %" in page and all(f"|*|{method}|" in page for method in methods)
    assert "finished before" not in capsys.readouterr().out
    assert main(words(model, *methods)) == 0 and capsys.readouterr().out.count("finished before") == 5


def test_masks_learn_while_weights_stay(here):
    assert main(words("Bert", "routing", "head_only", stop_stage=11)) == 0
    from transformers import AutoModel

    plain = AutoModel.from_pretrained("Bert").encoder.state_dict()
    trained = torch.load(here / "exp/text_routing_s0.25_seed0/model.pt", weights_only=True)["layers"]
    same = {name: tensor for name, tensor in trained.items() if name in plain}
    assert same and all(torch.equal(tensor, plain[name]) for name, tensor in same.items())
    point = json.loads((here / "exp/text_routing_s0.25_seed0/point.json").read_text())
    head = 16 * 3 + 3
    assert point["bytes_added"] == 2 * 2 * 16 * 32 // 8 + 4 * head  # a bit for each connection of two layers


@pytest.mark.parametrize(
    ("methods", "changes", "message"),
    [
        (("omp",), {}, "the dense model is missing; add finetune to --methods"),
        (("rooting",), {}, "--methods: 'rooting' is not in text.yaml"),
        (("unknown",), {}, "method is 'routng'"),
        (("routing",), {"model": "nowhere"}, "--model nowhere"),
        (("routing",), {"valid_set": "mydev"}, "expected --valid_set (mydev) among them"),
        (("routing",), {"epochs": "0"}, "--epochs is 0, expected at least 1"),
        (("routing",), {"train_set": "absent"}, "absent"),
    ],
)
def test_options_that_do_not_fit(here, methods, changes, message, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(words("Bert", *methods, **changes) if "model" not in changes else words(changes.pop("model"), *methods)) == 1
    assert message in capsys.readouterr().err


def test_texts_without_transcripts_and_other_configurations(here, capsys):
    assert main(words("Bert", "head_only")) == 0
    assert main(words("Bert", "head_only", epochs="3")) == 1
    assert "holds a run of another configuration" in capsys.readouterr().err
    (here / "data/train/text").write_text("a ON\nb OFF\n")
    assert main(words("Bert", "head_only", expdir="other")) == 1
    assert "2 texts hold an intent alone, for example a" in capsys.readouterr().err
