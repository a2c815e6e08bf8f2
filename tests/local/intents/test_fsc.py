"""Fluent Speech Commands, from a tiny tree with the same layout."""

import pytest
from toy_intents import edit, write_fsc

from espnet_s3router.data.data_dir import read_data_dir
from espnet_s3router.errors import InputError
from local.intents.fsc import main, prepare


@pytest.fixture
def root(tmp_path):
    return write_fsc(tmp_path / "fluent_speech_commands_dataset")


def test_texts_and_keys_are_those_of_espnet(root, tmp_path, capsys):
    assert main(["--root", str(root.parent), "--data_dir", str(tmp_path / "data")]) == 0
    told = capsys.readouterr()
    assert "train: 6 utterances, 3 intents" in told.out
    assert "found 3 intents in training, published are 31" in told.err
    data = read_data_dir(tmp_path / "data/train")
    assert data.text["2BqVo8kVB2Skwgyb_0001-4474-11e9.wav"] == "activate_lights_none Turn on the lights"
    assert data.text["AY5e3mMgZkIyG3Ox_0002-4474-11e9.wav"] == "change_language_none_none Switch the language"
    assert set(data.utt2spk.values()) == {"2BqVo8kVB2Skwgyb", "AY5e3mMgZkIyG3Ox"}
    assert data.wav["2BqVo8kVB2Skwgyb_0001-4474-11e9.wav"] == str(root / "wavs/speakers/2BqVo8kVB2Skwgyb/0001-4474-11e9.wav")
    assert main(["--root", str(root), "--check_corpus"]) == 0


def test_columns_in_another_order_and_a_byte_order_mark(root, tmp_path):
    path = root / "data/test_data.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()]
    turned = "\n".join(",".join(reversed(row)) for row in rows)
    prepare(root, tmp_path / "plain")
    path.write_text(turned, encoding="utf-8-sig")
    prepare(root, tmp_path / "turned")
    assert (tmp_path / "plain/test/text").read_text() == (tmp_path / "turned/test/text").read_text()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: next(root.rglob("*.wav")).unlink(), r"the recording .* is missing"),
        (lambda root: edit(root / "data/test_data.csv", "Fetch my shoes", ""), r"test: the transcript of .* is empty"),
        (
            lambda root: edit(root / "data/test_data.csv", "transcription", "text"),
            "lacks the column transcription, it has path",
        ),
        (lambda root: edit(root / "data/valid_data.csv", ",lights,none", ""), "has fewer columns than the first line"),
        (lambda root: edit(root / "data/test_data.csv", "activate,lights,none", ",,"), "has no intent"),
        (lambda root: (root / "data/valid_data.csv").unlink(), "holds no data/train_data.csv, valid_data.csv"),
        (lambda root: (root / "data/test_data.csv").write_bytes(b"path,\xff\n"), "not UTF-8"),
    ],
)
def test_a_damaged_corpus_is_refused_before_anything_is_written(damage, message, root, tmp_path):
    damage(root)
    with pytest.raises(InputError, match=message):
        prepare(root, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_one_file_twice(root, tmp_path):
    path = root / "data/valid_data.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(InputError, match="valid: 2BqVo8kVB2Skwgyb_0007-4474-11e9.wav occurs twice"):
        prepare(root, tmp_path / "data")


def test_characters_outside_ascii_are_left_out(root, tmp_path):
    edit(root / "data/test_data.csv", "Fetch my shoes", "Fetch\u00a0 my sh\u00f6es")
    prepare(root, tmp_path / "data")
    assert any(text.endswith("none Fetch my shes") for text in read_data_dir(tmp_path / "data/test").text.values())
