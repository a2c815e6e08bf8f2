"""Recordings with an intent and a transcript as two tasks: keys, texts, categories, and intents of one category."""

import pytest

from espnet_s3router.data.__main__ import main
from espnet_s3router.data.data_dir import read_data_dir

TEXTS = {"s-a": "VM you have mail", "s-b": "CONF you are alone", "s-c": "VM no mail"}


@pytest.fixture
def folder(tmp_path):
    (source := tmp_path / "data").mkdir()
    for key in TEXTS:
        (tmp_path / f"{key}.wav").write_bytes(b"RIFF")
    tables = {"wav.scp": {key: tmp_path / f"{key}.wav" for key in TEXTS}, "text": TEXTS}
    tables |= {"utt2spk": dict.fromkeys(TEXTS, "s"), "utt_unseen": {"s-b": ""}}
    for name, table in tables.items():
        (source / name).write_text("".join(f"{key} {value}\n" for key, value in table.items()), encoding="utf-8")
    return source


def test_every_recording_once_for_each_task(folder, capsys):
    assert main(["tasks", str(folder), str(both := folder.with_name("both"))]) == 0
    assert "asr 3, slu 3" in capsys.readouterr().out
    made = read_data_dir(both)
    assert made.text == {
        **{"s-a-asr": "you have mail", "s-b-asr": "you are alone", "s-c-asr": "no mail"},
        **{"s-a-slu": "VM", "s-b-slu": "CONF", "s-c-slu": "VM"},
    }
    assert made.wav["s-b-asr"] == made.wav["s-b-slu"] == str(folder.with_name("s-b.wav"))
    assert made.extras["utt2category"] == {key: key.rpartition("-")[2] for key in made.text}
    assert made.extras["utt_unseen"].keys() == {"s-b-asr", "s-b-slu"}
    words = [str(both), str(symbols := folder.with_name("intents.txt"))]
    assert main(["intents", *words, "--check", str(both), "--category", "slu"]) == 0
    assert symbols.read_text("utf-8").split() == ["CONF", "VM"]


def test_one_task(folder):
    assert main(["tasks", str(folder), str(made := folder.with_name("slu")), "--tasks", "slu"]) == 0
    assert read_data_dir(made).text.keys() == {"s-a-slu", "s-b-slu", "s-c-slu"}


def test_an_intent_without_a_transcript(folder, capsys):
    text = (folder / "text").read_text("utf-8").replace("CONF you are alone", "CONF")
    (folder / "text").write_text(text, encoding="utf-8")
    assert main(["tasks", str(folder), str(folder.with_name("both"))]) == 1
    assert "1 texts have no transcript behind the intent, for example that of s-b" in capsys.readouterr().err
    assert not folder.with_name("both").exists()
    assert main(["tasks", str(folder), str(folder.with_name("both")), "--tasks", "slu"]) == 0
