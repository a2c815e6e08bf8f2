"""LibriSpeech and the small training sets of Libri-Light, from tiny corpora with the same layout."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_s3router.data.data_dir import read_data_dir
from espnet_s3router.errors import InputError
from local.librispeech import EVALUATION, main, prepare, train_set_name


def chapter(folder: Path, speaker: int, chap: int, utts: int = 2) -> None:
    """``folder/<spk>/<chap>`` with ``utts`` recordings and their transcripts."""
    path = folder / str(speaker) / str(chap)
    path.mkdir(parents=True)
    ids = [f"{speaker}-{chap}-{n:04d}" for n in range(utts)]
    for n, utt in enumerate(ids):
        samples = 0.1 * np.random.default_rng(n).standard_normal(1600)
        soundfile.write(path / f"{utt}.flac", samples, 16000)
    lines = "".join(f"{utt} HELLO NUMBER {speaker}\n" for utt in ids)
    (path / f"{speaker}-{chap}.trans.txt").write_text(lines)


@pytest.fixture
def corpora(tmp_path: Path) -> dict[str, Path]:
    """All parts, each with a different speaker; 2 utterances per chapter, 3 in 9h."""
    libri, light = tmp_path / "LibriSpeech", tmp_path / "librispeech_finetuning"
    for n, part in enumerate([*EVALUATION, "train-clean-100"]):
        chapter(libri / part, 100 + n, 7)
    for n in range(6):
        chapter(light / f"1h/{n}/clean", 200 + n, 1)
        chapter(light / f"1h/{n}/other", 300 + n, 1)
    chapter(light / "9h/clean", 400, 1, utts=3)
    chapter(light / "9h/other", 401, 1, utts=3)
    return {"librispeech": libri, "librilight": light}


def test_all_sets(corpora: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = prepare(**corpora, data_dir=tmp_path / "data")
    assert counts == {
        "train_10min": 4,
        "train_1h": 24,
        "train_10h": 30,
        "train_100h": 2,
        "dev_clean": 2,
        "dev_other": 2,
        "test_clean": 2,
        "test_other": 2,
    }
    data = read_data_dir(tmp_path / "data/train_10min")
    assert data.text["200-1-0000"] == "HELLO NUMBER 200"
    assert data.utt2spk == {utt: utt.split("-")[0] for utt in data.wav}
    assert set(data.utt2spk.values()) == {"200", "300"}
    assert "published are 2703" in capsys.readouterr().err


@pytest.mark.parametrize("subset", range(6))
def test_subset_chooses_one_of_six_and_names_it(corpora: dict[str, Path], tmp_path: Path, subset: int) -> None:
    prepare(**corpora, data_dir=tmp_path / "data", splits=["10min"], subset=subset, evaluation=[])
    data = read_data_dir(tmp_path / "data" / train_set_name("10min", subset))
    assert set(data.utt2spk.values()) == {str(200 + subset), str(300 + subset)}
    assert train_set_name("10min") == "train_10min"
    assert train_set_name("10min", 3) == "train_10min_subset3"
    assert train_set_name("1h", 3) == "train_1h"


def test_missing_parts_name_the_page_before_anything_is_written(
    corpora: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    arguments = ["--data_dir", str(data), "--librispeech", str(corpora["librispeech"])]
    assert main([*arguments, "--split", "1h"]) == 1
    error = capsys.readouterr().err
    assert "no folder was given" in error
    assert "libri-light" in error
    (corpora["librispeech"] / "dev-other").rename(tmp_path / "elsewhere")
    assert main([*arguments, "--split", "100h"]) == 1
    error = capsys.readouterr().err
    assert "dev-other" in error
    assert "openslr.org/12" in error
    assert not data.exists()


def test_what_is_there(corpora: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--check_corpus`` looks for every folder that the preparation reads, and writes nothing."""
    words = ["--data_dir", str(tmp_path / "data"), "--check_corpus", "--split", "10min", "--subset", "3"]
    words += [word for name, folder in corpora.items() for word in (f"--{name}", str(folder))]
    assert main(words) == 0
    lines = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert lines["train_10min_subset3"] == ", ".join(
        str(corpora["librilight"] / f"1h/3/{kind}") for kind in ("clean", "other")
    )
    assert lines["dev_other"] == str(corpora["librispeech"] / "dev-other") and len(lines) == 5
    (corpora["librispeech"] / "test-clean").rename(tmp_path / "elsewhere")
    assert main(words) == 1 and "test-clean" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_incomplete_downloads_are_refused(corpora: dict[str, Path], tmp_path: Path) -> None:
    options = {**corpora, "data_dir": tmp_path / "data", "splits": ["10min"], "evaluation": []}
    folder = corpora["librilight"] / "1h/0/clean/200/1"
    recording, listing = folder / "200-1-0000.flac", folder / "200-1.trans.txt"
    text = listing.read_text()
    listing.write_text(text.splitlines()[1] + "\n")
    with pytest.raises(InputError, match=r"no transcript for .*200-1-0000"):
        prepare(**options)
    listing.write_text(text + text)
    with pytest.raises(InputError, match="occurs twice"):
        prepare(**options)
    listing.write_text("200-1-0000\n" + text.splitlines()[1] + "\n")
    with pytest.raises(InputError, match="empty transcript of '200-1-0000'"):
        prepare(**options)
    listing.write_text(text)
    recording.unlink()
    with pytest.raises(InputError, match="no recording 200-1-0000"):
        prepare(**options)
    with pytest.raises(InputError, match="expected one of"):
        prepare(**{**options, "splits": ["5min"]})
    assert not (tmp_path / "data").exists()
