"""A folder of recordings and texts as data directories."""

import numpy as np
import pytest
import soundfile

from espnet_s3router.data.__main__ import main
from espnet_s3router.data.collect import collect
from espnet_s3router.data.data_dir import read_data_dir
from espnet_s3router.errors import InputError


@pytest.fixture
def recordings(tmp_path):
    """Sixty recordings of two speakers, of forty sentences."""
    for number in range(60):
        folder = tmp_path / "recordings" / ("ana maria", "bo")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"take {number}.wav", np.zeros(800), 16000)
        (folder / f"take {number}.txt").write_text(f"sentence  {number % 40}\n", encoding="utf-8")
    return tmp_path / "recordings"


def test_every_recording_is_in_one_dataset(recordings, tmp_path):
    counts = collect(recordings, tmp_path / "data")
    made = {name: read_data_dir(tmp_path / "data" / name) for name in ("train", "dev", "test")}
    assert {name: len(data.wav) for name, data in made.items()} == counts and sum(counts.values()) == 60
    assert min(counts.values()) > 0 and counts["train"] > 40
    texts = [set(data.text.values()) for data in made.values()]
    assert not texts[0] & texts[1] | texts[0] & texts[2] | texts[1] & texts[2]
    together = {utt: text for data in made.values() for utt, text in data.text.items()}
    assert together["bo-take_1"] == "sentence 1" and together["ana_maria-take_40"] == "sentence 0"
    assert {speaker for data in made.values() for speaker in data.utt2spk.values()} == {"ana_maria", "bo"}


def test_new_recordings_move_none(recordings, tmp_path):
    collect(recordings, tmp_path / "before")
    soundfile.write(recordings / "new.wav", np.zeros(800), 16000)
    (recordings / "new.txt").write_text("something else", encoding="utf-8")
    collect(recordings, tmp_path / "after")
    for name in ("train", "dev", "test"):
        before, after = (set(read_data_dir(tmp_path / when / name).wav) for when in ("before", "after"))
        assert before == after - {"speaker-new"}


def test_problems_are_listed(recordings, tmp_path):
    (recordings / "bo/take 1.txt").unlink()
    (recordings / "bo/take 3.txt").write_text(" \n")
    (recordings / "bo/take 5.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match="3 problem") as error:
        collect(recordings, tmp_path / "data")
    for text in ("take 1.wav: has no take 1.txt", "take 3.txt: is empty", "take 5.txt: is not UTF-8"):
        assert text in str(error.value)
    assert not (tmp_path / "data").exists()


def test_folders_that_cannot_be_used(recordings, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no recording"):
        collect(tmp_path / "empty", tmp_path / "data")
    with pytest.raises(InputError, match="there is no such folder"):
        collect(tmp_path / "none", tmp_path / "data")
    with pytest.raises(InputError, match="shares are 0.5 for dev and 0.5 for test"):
        collect(recordings, tmp_path / "data", dev=0.5, test=0.5)
    with pytest.raises(InputError, match="leave none for dev"):
        collect(recordings, tmp_path / "data", dev=1e-9)
    assert main(["collect", str(recordings), str(tmp_path / "data")]) == 0
    assert "train " in capsys.readouterr().out
