"""One graph and many languages: each has the text of its own route, in any order, with a head of its own size."""

import numpy as np
import onnx
import pytest
import torch

from espnet_s3router.cli.main import main
from espnet_s3router.errors import InputError
from espnet_s3router.plugin.deployment import route
from espnet_s3router.serving import OnnxBank, OnnxModel, Router
from espnet_s3router.serving.bank_export import check_languages, export_bank

WAVES = {str(pitch): lambda pitch=pitch: route.speech_like(0.9, pitch=pitch) for pitch in (110.0, 240.0)}


@pytest.fixture
def routes(trained_like, tmp_path):
    """Routes of two languages; that of es has one token more, and trains the norms."""
    folder = tmp_path / "routes"
    folder.mkdir()
    (tmp_path / "tokens.txt").write_text("<blank>\n<unk>\nA\nB\nC\n<sos/eos>\n", encoding="utf-8")
    masks = {"method": "routing", "sparsity": 0.2, "targets": "all"}
    more = {"token_list": str(tmp_path / "tokens.txt"), "mask_conf": masks | {"train_norms": True}}
    for seed, (name, options) in enumerate({"nl": {"mask_conf": masks}, "es": more}.items()):
        route.write_experiment(*trained_like(name=name, seed=seed, **options), folder / f"{name}.route")
    return folder


def test_every_language_has_its_own_text(routes, tmp_path, capsys):
    report = export_bank(routes, tmp_path / "bank", WAVES)
    assert report["languages"] == ["es", "nl"] and report["compared_on"] == 2
    assert sorted(path.name for path in (tmp_path / "bank").iterdir()) == [
        "config.json",
        "es.route",
        "model.onnx",
        "nl.route",
    ]
    bank, router = OnnxBank(tmp_path / "bank", threads=1), Router.from_dir(routes)
    wave = route.speech_like(1.1, pitch=150.0)
    for lang in ("nl", "es", "nl", "nl", "es"):
        expected, got = router.log_probs(lang, wave), bank.log_probs(wave, lang)
        assert got.shape[1] == (5 if lang == "nl" else 6)
        assert (got - expected[: len(got)]).abs().max() < 1e-3
        assert bank.transcribe(wave, lang).text == router.transcribe(wave, lang).text
    with pytest.raises(InputError, match=r"there is no language 'ess', expected one of es, nl. Did you mean es\?"):
        bank.transcribe(wave, "ess")
    with pytest.raises(InputError, match="serves many languages. Give its folder and a language: --bank"):
        OnnxModel(tmp_path / "bank/model.onnx")
    with pytest.raises(InputError, match="bank: was not written: es gives another text than its route on a"):
        check_languages(bank, {"a": lambda: wave}, {"es": {"a": [9]}}, tmp_path / "bank")
    command(routes.parent, wave, bank, capsys)
    other_base(tmp_path / "bank")


def command(folder, wave, bank, capsys):
    """``s3router transcribe --bank`` with the exported bank."""
    import soundfile

    soundfile.write(folder / "a.wav", wave.numpy(), 16000, subtype="FLOAT")
    words = ["transcribe", str(folder / "a.wav"), "--bank", str(folder / "bank")]
    assert main([*words, "--lang", "es"]) == 0
    assert capsys.readouterr().out == f"{folder / 'a.wav'}\tes\t{bank.transcribe(wave, 'es').text}\n"
    for more, message in (
        ([], "--lang is missing: name one of es, nl\n"),
        (["--lang", "auto"], "a model in ONNX does not find the language. Name it with --lang instead of auto"),
        (["--lang", "es", "--device", "cuda"], "a model in ONNX holds its base and runs on the CPU. Leave out --device"),
        (["--upstream", "x", "--path_or_url", "y"], "Leave out --upstream and --path_or_url"),
    ):
        assert main([*words, *more]) == 1
        assert message in capsys.readouterr().err


def other_base(folder):
    """A graph with another base refuses the routes."""
    model = onnx.load(folder / "model.onnx")
    for entry in model.metadata_props:
        if entry.key == "s3router_base":
            entry.value = "0" * 64
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(InputError, match="the route belongs to another base"):
        OnnxBank(folder).log_probs(torch.from_numpy(np.zeros(16000, np.float32)), "es")


def test_routes_that_one_graph_cannot_hold(routes, trained_like, tmp_path):
    files = trained_like(name="lora", mask_conf={"method": "lora", "rank": 2})
    route.write_experiment(*files, routes / "it.route")
    with pytest.raises(InputError, match=r"it.route: method lora adds .* to the base, which one graph for all cannot hold"):
        export_bank(routes, tmp_path / "bank", WAVES)
    (routes / "it.route").unlink()
    files = trained_like(name="sum", frontend={"multilayer_feature": True}, mask_conf={"method": "routing", "sparsity": 0.2})
    route.write_experiment(*files, routes / "it.route")
    with pytest.raises(InputError, match=r"it.route: has another base or other options than .*es.route: export it alone"):
        export_bank(routes, tmp_path / "bank", WAVES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: holds no \*.route file"):
        export_bank(tmp_path / "empty", tmp_path / "bank", WAVES)
    assert not (tmp_path / "bank").exists()
