"""Models with removed units in ONNX: the smaller model of a run of hj, the run itself, and blocks that lost all units."""

import json

import onnx
import pytest
import torch

from espnet_s3router.cli.main import main
from espnet_s3router.exported.layout import read_description
from espnet_s3router.exported.session import Session
from espnet_s3router.plugin.best_path import best_path
from espnet_s3router.plugin.deployment.bake import load_experiment, outputs
from espnet_s3router.plugin.deployment.finished import files_of
from espnet_s3router.plugin.deployment.shrink import shrink_experiment
from tests.plugin.conftest import HJ
from tests.plugin.onnx_export.conftest import waves_of


@pytest.fixture
def emptied(trained_like):
    """make(family) -> (config.yaml, model file) of a run of hj whose first layer has no heads and last no inner units."""

    def make(family):
        config, file = trained_like(family=family, mask_conf=HJ | {"sparsity": 0.6})
        model, _ = load_experiment(config, file, "asr")
        gates = model.frontend.attached.gates.groups
        with torch.no_grad():
            for name, gate in gates.items():
                gate.log_alpha.copy_(torch.linspace(-1.0, 1.0, len(gate.log_alpha)))
                gate.log_alpha.sub_(1000.0 * (name in ("attention.0", "feed_forward.1")))
        torch.save(model.state_dict(), file)
        return config, file

    return make


def products(path):
    return [node for node in onnx.load(path).graph.node if node.op_type == "MatMulInteger"]


def check_same_text(folder, files, data_dir):
    """The graph gives the text of the trained model, whose gates are still there."""
    model, _ = load_experiment(*files, "asr")
    session = Session(folder / "model.onnx", read_description(folder), threads=1)
    for read in waves_of(data_dir).values():
        expected, got = outputs(model, read()), torch.from_numpy(session.log_probs(read().numpy()))
        assert best_path(got)[0] == best_path(expected)[0]
        assert (got - expected[: len(got)]).abs().max() <= 1e-3


@pytest.mark.parametrize("of", ["the run", "its smaller model"])
def test_the_command(pruned, small, data_dir, tmp_path, capsys, of):
    """Both are the same graph, smaller than the dense one: the widths of every matrix are those that are left."""
    folder, out = pruned if of == "the run" else small.folder, tmp_path / "onnx"
    words = ["--model_file", "2epoch.pth"] if of == "the run" else []
    words += ["--kinds", "fp32", "int8", "--check_data", str(data_dir), "--accept_loss"]
    assert main(["export", str(folder), "--out", str(out), *words]) == 0
    assert "same text as the trained model on 8 recordings" in capsys.readouterr().out
    check_same_text(out, (pruned / "config.yaml", pruned / "2epoch.pth"), data_dir)
    report = json.loads((out / "export.json").read_text("utf-8"))
    assert report["error_rates"].keys() == report["error_rates_int8"].keys() == {"wer", "cer"}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in onnx.load(out / "model.onnx").graph.initializer}
    left = {tuple(p.shape) for p in load_experiment(*files_of(small.folder), "asr")[0].frontend.expert.parameters()}
    named = {name: shape for name, shape in shapes.items() if name.startswith("upstream/") and name.endswith("weight")}
    assert named and all(shape in left or shape[::-1] in left for shape in named.values())
    assert len(products(out / "model.int8.onnx")) == report["int8_products"] > 0


@pytest.mark.parametrize("family", ["hf_hubert", "wav2vec2_large", "hf_whisper"])
def test_blocks_without_units(emptied, data_dir, tmp_path, capsys, family):
    """Matrices without rows are in neither graph; the bias behind them is."""
    files = emptied(family)
    small = shrink_experiment(*files, tmp_path / "small", waves=[read() for read in waves_of(data_dir).values()][:2])
    assert small.pruned["widths"]["heads"][0] == small.pruned["widths"]["inner"][1] == 0
    words = ["--kinds", "fp32", "int8", "--check_data", str(data_dir), "--accept_loss"]
    assert main(["export", str(small.folder), "--out", str(tmp_path / "onnx"), *words]) == 0
    check_same_text(tmp_path / "onnx", files, data_dir)
    model, _ = load_experiment(*files_of(small.folder), "asr")
    linear = [m for part in (model.frontend.expert, model.ctc) for m in part.modules() if isinstance(m, torch.nn.Linear)]
    used = [module for module in linear if module.weight.numel()]
    assert len(linear) - len(used) == 6  # q, k, v and the output; two of the feed-forward block
    assert len(products(tmp_path / "onnx/model.int8.onnx")) == len(used)


def test_the_gate_on_error_rates(small, data_dir, tmp_path, capsys, monkeypatch):
    """An int8 model that loses more than half a point is refused, as that of a dense one."""
    from espnet_s3router.bin import onnx_export

    rates = iter([{"wer": 30.0}, {"wer": 30.6}])
    monkeypatch.setattr(onnx_export, "error_rates", lambda *given: next(rates))
    words = ["--kinds", "int8", "--check_data", str(data_dir), "--out", str(tmp_path / "onnx")]
    assert main(["export", str(small.folder), *words]) == 1
    assert "int8 loses too much: WER 30.00 becomes 30.60 % on 8 utterances" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
