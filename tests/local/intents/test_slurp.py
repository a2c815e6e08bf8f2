"""SLURP, from a tiny tree with the same layout."""

import json

import pytest
from toy_intents import edit, write_slurp

from espnet_s3router.data.data_dir import read_data_dir
from espnet_s3router.errors import InputError
from local.intents.slurp import entities_of, main, prepare


@pytest.fixture
def root(tmp_path):
    return write_slurp(tmp_path / "slurp")


def test_texts_and_keys_are_those_of_espnet(root, tmp_path, capsys):
    """Each recording counts once, though the first one of every part is listed twice."""
    assert main(["--root", str(root), "--data_dir", str(tmp_path / "data")]) == 0
    assert "train: 8 utterances, 4 intents" in capsys.readouterr().out
    data = read_data_dir(tmp_path / "data/train")
    by_recording = {key.split("_")[2]: (key, text) for key, text in data.text.items()}
    assert by_recording["1434542202"][1] == "alarm_set wake me up at ten please"
    assert by_recording["1434542204"][1] == "email_query any mail from mary at work"
    assert by_recording["1434542208"][1] == "general_quirky is this hashtag fun"
    key, _ = by_recording["1434542203-headset"]
    assert data.utt2spk[key] == key.rpartition("_")[0] and key.startswith("slurp_FO-")
    assert data.wav[key] == str(root / "audio/slurp_real/audio-1434542203-headset.flac")


def test_synthetic_speech(root, tmp_path):
    counts = prepare(root, tmp_path / "data", synthetic=True)
    assert {name: utts for name, (utts, _) in counts.items()} == {"train_synthetic": 16, "devel": 8, "test": 8}
    assert sum(spk == "slurp_synthetic" for spk in read_data_dir(tmp_path / "data/train_synthetic").utt2spk.values()) == 8


def test_entities(root, tmp_path):
    prepare(root, tmp_path / "data", entities=True)
    texts = set(read_data_dir(tmp_path / "data/test_entities").text.values())
    assert "email_querycontact SEP person FILL raju SEP personal_info FILL phone number SEP call raju phone number" in texts
    assert "general_quirky SEP is this hashtag fun" in texts


def test_entities_of_tokens():
    """Tables without annotated sentences."""
    tokens = [{"surface": word} for word in ["siri", "one", "american", "dollar"]]
    prompt = {"tokens": tokens, "entities": [{"span": [2, 3], "type": "currency_name"}]}
    assert entities_of(prompt) == [("currency_name", "american dollar")]


def test_a_filler_that_the_sentence_does_not_hold(root, tmp_path, capsys):
    edit(root / "dataset/slurp/devel.jsonl", "[person : mary]", "[person : maria]")
    prepare(root, tmp_path / "data", entities=True)
    assert (
        "devel_entities has 1 fillers that their sentence does not hold, kept as annotated: 'maria'"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda root: edit(root / "dataset/slurp/devel.jsonl", '"action": "query"', '"action": "query'),
            "devel.jsonl line 2: is not JSON",
        ),
        (
            lambda root: edit(root / "dataset/slurp/test.jsonl", '"scenario"', '"Scenario"'),
            "test.jsonl line 1: lacks 'scenario'",
        ),
        (
            lambda root: (root / "audio/slurp_real/audio-1434542203-headset.flac").unlink(),
            "audio-1434542203-headset.flac is missing",
        ),
        (lambda root: (root / "dataset/slurp/metadata.json").unlink(), "lacks metadata.json"),
        (
            lambda root: (root / "dataset/slurp/metadata.json").write_text("{}"),
            "metadata.json names no speaker of audio-1434542202",
        ),
        (lambda root: edit(root / "dataset/slurp/metadata.json", '"usrid"', '"user"'), "entry train0: lacks 'usrid'"),
        (
            lambda root: edit(root / "dataset/slurp/test.jsonl", '"file"', '"name"'),
            "test.jsonl, the prompt .*: lacks 'file'",
        ),
        (lambda root: edit(root / "dataset/slurp/train.jsonl", "is this #fun", " ,. "), "the transcript of .* is empty"),
    ],
)
def test_a_damaged_corpus_is_refused_before_anything_is_written(damage, message, root, tmp_path):
    damage(root)
    with pytest.raises(InputError, match=message):
        prepare(root, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_line_that_is_no_object(root, tmp_path):
    with (root / "dataset/slurp/test.jsonl").open("a") as file:
        file.write(json.dumps(3) + "\n")
    with pytest.raises(InputError, match="line 5: is not JSON"):
        prepare(root, tmp_path / "data")
