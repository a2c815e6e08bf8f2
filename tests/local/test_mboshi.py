"""Mboshi, from a tiny corpus with the same layout, and from the part beside the project where it is there."""

import hashlib
import unicodedata

import numpy as np
import pytest
import soundfile

from espnet_s3router.data.data_dir import read_data_dir
from espnet_s3router.errors import InputError
from local import mboshi
from local.mboshi import main, prepare, spelling, split

SPEAKERS = ("abiayi", "kouarata", "martial")


def utterance(folder, utt, text, seconds=0.1, suffix=".wav"):
    samples = 0.1 * np.random.default_rng(len(utt)).standard_normal(int(16000 * seconds))
    soundfile.write(folder / f"{utt}{suffix}", samples, 16000)
    (folder / f"{utt}.mb.cleaned").write_text(text, encoding="utf-8")
    for name in (".mb", ".fr", ".fr.cleaned"):
        (folder / f"{utt}{name}").write_text("x", encoding="utf-8")


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Ten training utterances of 0.1 s, too short for the rule of the split, and three test utterances."""
    monkeypatch.setattr(mboshi, "split", lambda seconds, minutes: fake_split(seconds))
    root = tmp_path / "mboshi-french-parallel-corpus/full_corpus_newsplit"
    for part, count in (("train", 10), ("dev", 3)):
        (root / part).mkdir(parents=True)
        for n in range(count):
            utterance(root / part, f"{SPEAKERS[n % 3]}_2015-09-08_{part}_{n}", f"wa mísi {part} {n}\n")
    return root


def fake_split(seconds):
    utts = sorted(seconds)
    return {"train_10min": utts[:4], "train_60min": utts[:6], "dev": utts[6:8]}


def test_datasets(corpus, tmp_path, capsys):
    counts = prepare(corpus.parent, data_dir=tmp_path / "data")
    assert {name: utts for name, (utts, _) in counts.items()} == {
        "train_10min_mboshi": 4,
        "train_60min_mboshi": 6,
        "dev_mboshi": 2,
        "test_mboshi": 3,
    }
    data = read_data_dir(tmp_path / "data/test_mboshi")
    assert data.text["abiayi_2015-09-08_dev_0"] == "wa mísi dev 0"
    assert set(data.utt2spk.values()) == set(SPEAKERS)
    assert "dev has 3 utterances, published are 514" in capsys.readouterr().err
    assert main(["--mboshi", str(corpus), "--data_dir", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again/dev_mboshi/text").read_text() == (tmp_path / "data/dev_mboshi/text").read_text()


def test_what_is_there(corpus, tmp_path, capsys):
    """``--check_corpus`` looks for both folders, and writes nothing."""
    words = ["--data_dir", str(tmp_path / "data"), "--check_corpus", "--mboshi"]
    assert main([*words, str(corpus.parent)]) == 0
    assert capsys.readouterr().out == f"train and dev are in {corpus}\n"
    assert main([*words, str(corpus / "dev")]) == 1
    assert "holds no full_corpus_newsplit/train" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


class TestSplit:
    SECONDS = {f"utt{n}": 10.0 + n % 3 for n in range(800)}

    def test_by_its_rule(self):
        """First minutes in md5 order; the last 7 of the first 70 minutes."""
        order = sorted(self.SECONDS, key=lambda utt: hashlib.md5(utt.encode()).hexdigest())

        def until(utts):
            return sum(self.SECONDS[utt] for utt in utts)

        parts = split(self.SECONDS, [10, 60])
        for minutes in (10, 60):
            part = parts[f"train_{minutes}min"]
            assert part == order[: len(part)]
            assert until(part) <= 60 * minutes < until(order[: len(part) + 1])
        valid = parts["dev"]
        last = order.index(valid[-1])
        assert until(order[:last]) < 4200 <= until(order[: last + 1])
        assert valid == order[last + 1 - len(valid) : last + 1]
        assert until(valid) <= 420 < until(order[last - len(valid) : last + 1])
        assert not set(valid) & set(parts["train_60min"])

    def test_too_little_audio_and_overlap(self):
        with pytest.raises(InputError, match="train has 0.2 minutes of audio, expected at least 70"):
            split({"utt0": 12.0}, [10])
        for minutes in ([64], [0], []):
            with pytest.raises(InputError, match="expected numbers from 1 to 63"):
                split(self.SECONDS, minutes)


def test_one_spelling_for_each_letter():
    for letter in ("ώ", "έ", "á"):
        both = {spelling([unicodedata.normalize(form, f" {letter.upper()}mb{letter}  a")]) for form in ("NFC", "NFD")}
        assert both == {f"{letter}mb{letter} a"}


def test_a_wrong_duration_is_reported_before_the_corpus_is_read(tmp_path):
    with pytest.raises(InputError, match="--minutes is 10 64, expected numbers from 1 to 63"):
        prepare(tmp_path / "absent", data_dir=tmp_path / "data", minutes=(10, 64))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda root: (root / "train/abiayi_2015-09-08_train_0.wav").unlink(),
            "no recording abiayi.*_0.wav for",
        ),
        (lambda root: (root / "dev/kouarata_2015-09-08_dev_1.mb.cleaned").unlink(), "no transcript kouarata.*mb.cleaned"),
        (lambda root: (root / "dev/kouarata_2015-09-08_dev_1.mb.cleaned").write_text(" \n"), "is empty"),
        (
            lambda root: utterance(root / "train", "abiayi_2015-09-08_train_0", "a", suffix=".flac"),
            "two recordings of a",
        ),
        (lambda root: utterance(root / "train", "nobody_1", "a"), "nobody_1 begins with no speaker"),
        (
            lambda root: (root / "dev/kouarata_2015-09-08_dev_1.wav").write_bytes(b"none"),
            "_dev_1.wav cannot be read: Libsnd",
        ),
        (lambda root: (root / "dev").rename(root / "test"), "holds no full_corpus_newsplit/train and"),
    ],
)
def test_a_damaged_corpus_is_refused_before_anything_is_written(damage, message, corpus, tmp_path):
    damage(corpus)
    with pytest.raises(InputError, match=message):
        prepare(corpus.parent, data_dir=tmp_path / "data")
    assert not (tmp_path / "data").exists()
