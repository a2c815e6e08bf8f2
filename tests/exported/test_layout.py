"""The folder of an exported model, as onnx-asr reads it, and what is said of other folders."""

import json

import pytest

from espnet_s3router.errors import InputError
from espnet_s3router.exported import layout
from espnet_s3router.exported.layout import Description

TOKENS = ["<blank>", "<unk>", "a", "<space>", "b", "<sos/eos>"]


@pytest.mark.parametrize(
    ("kind", "tokens", "ids", "text"),
    [
        ("char", TOKENS, [2, 3, 3, 4, 2], "a ba"),
        ("bpe", ["<blank>", "▁a", "b", "▁", "<sos/eos>"], [1, 2, 3, 2, 1], "ab b a"),
        ("phn", ["<blank>", "o", "l", "<sos/eos>"], [1, 2, 1], "o l o"),
        ("word", ["<blank>", "yes", "no", "<sos/eos>"], [2, 1], "no yes"),
    ],
)
def test_vocabulary(tmp_path, kind, tokens, ids, text):
    spelled = layout.vocabulary(tokens, 0, kind)
    layout.write_vocabulary(tmp_path, spelled)
    assert layout.read_vocabulary(tmp_path) == spelled and spelled[0] == "<blk>"
    assert layout.text_of(spelled, ids) == text
    # as onnx-asr splits a line: exactly one space in it, and the number behind it
    lines = (tmp_path / "vocab.txt").read_text("utf-8").splitlines()
    assert [line.split(" ") for line in lines] == [[token, str(number)] for number, token in enumerate(spelled)]


def test_a_token_with_white_space(tmp_path):
    with pytest.raises(InputError, match="token 'a b' is empty or holds white space"):
        layout.write_vocabulary(tmp_path, ["<blk>", "a b"])


@pytest.mark.parametrize("content", ["", "a 0\n", "<blk> 1\na 0\n", "<blk>\n", "a x\n"])
def test_other_vocabularies(tmp_path, content):
    (tmp_path / "vocab.txt").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"vocab.txt: (expected a token and its number|the blank <blk> is missing)"):
        layout.read_vocabulary(tmp_path)


def test_description(tmp_path):
    description = Description(subsampling_factor=160, first_frame=325, longest=480000, token_type="phn")
    layout.write_description(tmp_path, description)
    content = json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert (content["model_type"], content["subsampling_factor"]) == ("wav2vec2-ctc", 160)  # keys of onnx-asr
    (tmp_path / "config.json").write_text(json.dumps(content | {"features_size": 80}), encoding="utf-8")
    assert layout.read_description(tmp_path) == description


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "holds list, expected an object"),
        ("{", "is not JSON"),
        ('{"model_type": "vosk"}', "model_type is 'vosk', expec"),
        ("{}", "model_type is None, expected wav2vec2-ctc or s3router-bank"),
    ],
)
def test_other_descriptions(tmp_path, content, message):
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        layout.read_description(tmp_path)
    with pytest.raises(InputError, match=r"cannot be read .*Expected the description of an ONNX model"):
        layout.read_description(tmp_path / "absent")
