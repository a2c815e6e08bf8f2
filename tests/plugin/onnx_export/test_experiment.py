"""A trained run in ONNX: the text of the trained model, int8 in matrices alone, and one sentence by us and by onnx-asr."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch

from espnet_s3router.cli.main import main
from espnet_s3router.errors import InputError
from espnet_s3router.exported.layout import read_description, read_vocabulary
from espnet_s3router.exported.session import Session
from espnet_s3router.plugin.best_path import best_path
from espnet_s3router.plugin.deployment.bake import load_experiment, outputs
from espnet_s3router.plugin.onnx_export import NotExportable, experiment
from espnet_s3router.plugin.onnx_export.experiment import export_experiment
from espnet_s3router.serving import OnnxModel
from tests.plugin.onnx_export.conftest import onnx_asr_model, waves_of


def test_same_text_and_log_probabilities(exported, trained, data_dir):
    out, report = exported()
    run = trained("routing")
    model, args = load_experiment(run / "config.yaml", run / "2epoch.pth", "asr")
    session = Session(out / "model.onnx", read_description(out), threads=1)
    texts = []
    for read in waves_of(data_dir).values():
        expected, got = outputs(model, read()), torch.from_numpy(session.log_probs(read().numpy()))
        assert best_path(got)[0] == best_path(expected)[0]
        assert (got - expected[: len(got)]).abs().max() <= 1e-4
        tokens = [args.token_list[token] for token in best_path(expected)[0]]
        texts.append("".join(tokens))
        assert OnnxModel(out / "model.onnx").transcribe(read()).text == texts[-1]
    assert len(set(texts)) > 1 and report["compared_on"] == 8
    assert read_vocabulary(out) == ["<blk>", *args.token_list[1:]]


def test_int8_of_matrices_alone(exported, trained):
    """The products of the file are those of the linear layers of the model."""
    out, report = exported()
    run = trained("routing")
    model, _ = load_experiment(run / "config.yaml", run / "2epoch.pth", "asr")
    parts = (model.frontend.expert, model.ctc)
    linear = sum(isinstance(module, torch.nn.Linear) for part in parts for module in part.modules())
    graph = onnx.load(out / "model.int8.onnx").graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("MatMulInteger") == report["int8_products"] == linear
    assert "ConvInteger" not in kinds and "QLinearConv" not in kinds and "DequantizeLinear" not in kinds
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions and all(types[node.input[1]] == onnx.TensorProto.FLOAT for node in convolutions)


def test_a_batch_gives_each_utterance_its_own_output(exported, data_dir):
    out, _ = exported()
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    first, second = [read().numpy() for read in waves_of(data_dir).values()][::7]
    batch = np.zeros((2, len(second)), np.float32)
    batch[0, : len(first)], batch[1] = first, second
    lengths = np.array([len(first), len(second)])
    (together,) = session.run(None, {"input_values": batch, "input_lengths": lengths})
    for row, wave in enumerate((first, second)):
        (alone,) = session.run(None, {"input_values": wave[None], "input_lengths": lengths[row : row + 1]})
        count = alone.shape[1]
        assert np.allclose(together[row, :count], alone[0], atol=1e-4)
        assert (together[row, count:].argmax(-1) == 0).all()
    assert together.shape[1] > count or len(first) < len(second)


@pytest.mark.parametrize("kind", [None, "int8"])
def test_one_sentence_by_our_command_and_by_onnx_asr(exported, data_dir, capsys, kind):
    out, _ = exported()
    paths = [line.split()[1] for line in (data_dir / "wav.scp").read_text("utf-8").splitlines()]
    name = f"model.{kind}.onnx" if kind else "model.onnx"
    assert main(["transcribe", str(out / name), *paths]) == 0
    ours = [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()]
    model = onnx_asr_model(out, kind)
    assert [model.recognize(path) for path in paths] == ours
    assert list(model.recognize(paths)) == ours  # as one padded batch
    assert any(ours)


def test_folder_as_a_model_with_times_and_bad_recordings(exported, tmp_path, capsys, data_dir):
    out, _ = exported()
    long = np.concatenate([read().numpy() for read in waves_of(data_dir).values()])
    soundfile.write(tmp_path / "long.wav", long, 16000)
    soundfile.write(tmp_path / "short.wav", long[:200], 16000)
    words = [str(tmp_path / "long.wav"), str(tmp_path / "short.wav"), "--json", "--window", "2"]
    assert main(["transcribe", str(out), *words]) == 1
    printed = capsys.readouterr()
    good, bad = [json.loads(line) for line in printed.out.splitlines()]
    assert good["lang"] is None and good["words"] and all(word["start"] < word["end"] for word in good["words"])
    assert "short.wav: the audio has 200 samples at 16 kHz, expected at least 325" in bad["error"]
    assert main(["transcribe", str(out), "--lang", "nl"]) == 1
    assert main(["transcribe", str(out), str(tmp_path / "long.wav"), "--lang", "nl"]) == 1
    assert "knows one language" in capsys.readouterr().err


def test_nothing_is_written_where_texts_differ(exported, trained, data_dir, tmp_path, monkeypatch):
    run, (out, _) = trained("routing"), exported()
    monkeypatch.setattr(experiment, "graph_of", lambda *given: onnx.load(out / "model.onnx"))
    files = (run / "config.yaml", run / "2epoch.pth", tmp_path / "out", waves_of(data_dir))
    whole = Session.log_probs
    monkeypatch.setattr(Session, "log_probs", lambda self, wave: np.roll(whole(self, wave), 1, axis=1))
    with pytest.raises(
        InputError, match=r"out: was not written: onnxruntime gives another text than the trained model on 8 of"
    ):
        export_experiment(*files, gate=lambda *texts: {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("family", ["hf_whisper", "wav2vec2"])
def test_other_families(trained_like, data_dir, tmp_path, family):
    """Recordings that are longer than Whisper's window (here a second) are left out of the comparison."""
    files = trained_like(name=family, family=family, mask_conf={"method": "routing", "sparsity": 0.2})
    report = export_experiment(*files, tmp_path / "out", waves_of(data_dir), gate=lambda *texts: {})
    assert report["compared_on"] == 8 and report["largest_difference"] < 1e-3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("config.json", "export.json", "model.onnx", "vocab.txt")
    ]
    longest = read_description(tmp_path / "out").longest
    assert longest == (49 * 320 if family == "hf_whisper" else None)
    wave = torch.cat([read() for read in waves_of(data_dir).values()])
    assert OnnxModel(tmp_path / "out/model.onnx").log_probs(wave).shape[0] >= len(wave) // 320 - 2  # in windows


def test_models_that_are_refused(untrained, data_dir, tmp_path):
    encoder = {"encoder": "rnn", "encoder_conf": {"hidden_size": 8, "num_layers": 1}}
    run = untrained(**encoder)
    files = (run / "config.yaml", run / "1epoch.pth")
    with pytest.raises(NotExportable, match="the model has encoder RNNEncoder. Only a CTC head directly on the upstream"):
        export_experiment(*files, tmp_path / "out", waves_of(data_dir), gate=lambda *texts: {})
    (tmp_path / "old").mkdir()
    with pytest.raises(InputError, match="old exists already"):
        export_experiment(*files, tmp_path / "old", waves_of(data_dir), gate=lambda *texts: {})
    with pytest.raises(InputError, match="an export of int4 was asked for, expected some of fp32, int8"):
        export_experiment(*files, tmp_path / "out", waves_of(data_dir), kinds=["int4"], gate=lambda *texts: {})
    with pytest.raises(InputError, match="no recording to compare"):
        export_experiment(*files, tmp_path / "out", {}, gate=lambda *texts: {})
