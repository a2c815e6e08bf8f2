"""Models with removed units in ONNX: the smaller model of a run of hj, the run itself, and blocks that lost all units."""

import onnx
import pytest
import torch

from espnet_s3router.bin import onnx_export
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


def check_same_text(folder, files, data_dir):
    """The graph gives the text of the trained model, whose gates are still there."""
    model, _ = load_experiment(*files, "asr")
    session = Session(folder / "model.onnx", read_description(folder), threads=1)
    for read in waves_of(data_dir).values():
        expected, got = outputs(model, read()), torch.from_numpy(session.log_probs(read().numpy()))
        assert best_path(got)[0] == best_path(expected)[0]
        assert (got - expected[: len(got)]).abs().max() <= 1e-3


def test_the_command_on_a_run(pruned, small, data_dir, tmp_path, capsys):
    """The graph is smaller than the dense one: every matrix has the size that is left."""
    out = tmp_path / "onnx"
    words = ["export", str(pruned), "--model_file", "2epoch.pth", "--out", str(out), "--check_data", str(data_dir)]
    assert main(words) == 0
    assert "same text as the trained model on 8 recordings" in capsys.readouterr().out
    check_same_text(out, (pruned / "config.yaml", pruned / "2epoch.pth"), data_dir)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in onnx.load(out / "model.onnx").graph.initializer}
    left = load_experiment(*files_of(small.folder), "asr")[0].frontend.expert.named_parameters()
    sizes = {f"upstream/{name}": parameter.shape for name, parameter in left}
    named = {name: shape for name, shape in shapes.items() if name in sizes and len(shape) == 2}
    assert len(named) > 10 and all(sorted(shape) == sorted(sizes[name]) for name, shape in named.items())


def test_blocks_without_units(emptied, data_dir, tmp_path, monkeypatch, capsys):
    """A folder of s3router shrink, with norms over fewer channels. Matrices without rows are in neither graph; the bias
    behind them is. An int8 model that loses more than half a point is refused, as that of a dense model."""
    files = emptied("wav2vec2_large")
    small = shrink_experiment(*files, tmp_path / "small", waves=[read() for read in waves_of(data_dir).values()][:2])
    assert small.pruned["widths"]["heads"][0] == small.pruned["widths"]["inner"][1] == 0
    words = ["export", str(small.folder), "--kinds", "fp32", "int8", "--check_data", str(data_dir)]
    rates = iter([{"wer": 30.0}, {"wer": 30.6}, {"wer": 30.0}, {"wer": 30.5}])
    monkeypatch.setattr(onnx_export, "error_rates", lambda *given: next(rates))
    assert main([*words, "--out", str(tmp_path / "refused")]) == 1
    assert "int8 loses too much: WER 30.00 becomes 30.60 % on 8 utterances" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "onnx")]) == 0
    assert "WER: 30.00 %, int8 30.50 %" in capsys.readouterr().out
    check_same_text(tmp_path / "onnx", files, data_dir)
    layers = load_experiment(*files_of(small.folder), "asr")[0].frontend.expert.model.encoder.layers
    linear = [module for module in layers.modules() if isinstance(module, torch.nn.Linear)]
    used = [module for module in linear if module.weight.numel()]
    assert len(linear) - len(used) == 6  # q, k, v and the output; two of the feed-forward block
    products = [node for node in onnx.load(tmp_path / "onnx/model.int8.onnx").graph.node if node.op_type == "MatMulInteger"]
    assert len(products) == len(used) + 2  # the projection, and the head
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "exp") == ["config.in.yaml", "onnx", "small"]
