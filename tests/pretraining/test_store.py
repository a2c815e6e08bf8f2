"""The audio store: its recordings, their places, and recordings that it refuses."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_s3router.errors import InputError
from espnet_s3router.pretraining.recordings import LEVEL_DB, MARGIN, find_recordings, refuse_held_out, trim
from espnet_s3router.pretraining.store import read_store, write_store
from espnet_s3router.text_files import write_table
from local.asterisk.split import read_lists
from tests.pretraining.conftest import COUNT, RATE, tone

ROOT = Path(__file__).parents[2]
LANGS = ("en", "es", "fr", "it", "ru")


def test_every_recording_is_there_once_without_its_silence(store):
    assert len(store.utterances) == COUNT
    assert sum(u.length for u in store.utterances) == len(store.audio)
    for utterance in store.utterances:
        whole, _ = soundfile.read(utterance.source)
        assert utterance.length <= len(whole) - 2 * 0.4 * RATE + 2 * MARGIN + 640
        assert 0.4 * RATE - MARGIN - 320 <= utterance.trimmed <= 0.4 * RATE
        again = store.waveform(utterance)
        part = whole[utterance.trimmed : utterance.trimmed + utterance.length]
        assert np.corrcoef(again, part)[0, 1] > 0.9999


def test_waveforms_are_normalised(store):
    waveform = store.waveform(store.utterances[3])
    assert abs(waveform.mean()) < 1e-4 and waveform.std() == pytest.approx(1.0, abs=1e-3)


def test_loud_and_quiet_recordings_get_one_level():
    sound = tone(np.random.default_rng(1), 1.0)
    for gain in (0.01, 1.0):
        levelled, _ = trim(gain * sound)
        assert 10 * np.log10(np.square(levelled).mean()) == pytest.approx(LEVEL_DB, abs=0.2)


def test_a_part_of_the_hours(corpus, tmp_path, store):
    """The store stops at the first recording beyond the hours; other hours make another store."""
    recordings, hours = find_recordings([corpus]), store.hours / 3
    part = write_store(tmp_path / "part", recordings, hours)
    longest = max(u.length for u in store.utterances) / RATE / 3600
    assert hours <= part.hours < hours + longest
    names = sorted(u.name for u in store.utterances)
    taken = [names.index(u.name) for u in part.utterances]
    assert taken != sorted(taken) and max(taken) > len(names) / 2
    assert write_store(tmp_path / "part", recordings).hours == store.hours


def test_some_are_held_out(store):
    held_out = [u.name for u in store.utterances if u.held_out]
    assert 0 < len(held_out) < COUNT / 10


def test_a_store_of_the_same_recordings_is_kept_and_another_is_made_anew(corpus, tmp_path):
    recordings = find_recordings([corpus])
    write_store(tmp_path / "s", recordings)
    before = (tmp_path / "s" / "audio.raw").stat().st_ino
    write_store(tmp_path / "s", recordings)
    assert (tmp_path / "s" / "audio.raw").stat().st_ino == before
    assert len(write_store(tmp_path / "s", recordings[:60]).utterances) == 60


def test_other_sound_under_the_same_names_is_another_store(tmp_path):
    rng = np.random.default_rng(3)
    soundfile.write(tmp_path / "a.wav", tone(rng, 1.0), RATE, subtype="PCM_16")
    write_table(tmp_path / "wav.scp", {"a": str(tmp_path / "a.wav")})
    before = write_store(tmp_path / "s", find_recordings([tmp_path]))
    soundfile.write(tmp_path / "a.wav", tone(rng, 2.0), RATE, subtype="PCM_16")
    after = write_store(tmp_path / "s", find_recordings([tmp_path]))
    assert after.digest != before.digest and after.hours > 1.5 * before.hours


def test_folders_that_do_not_hold_utterances_are_refused(tmp_path):
    """The message names the folder. A whole session would be one utterance."""
    with pytest.raises(InputError, match=r"mine: wav\.scp: cannot be read"):
        find_recordings([tmp_path / "mine"])
    soundfile.write(tmp_path / "long.wav", np.resize(tone(np.random.default_rng(4), 2.0), 121 * 8000), 8000)
    write_table(tmp_path / "wav.scp", {"long": str(tmp_path / "long.wav")})
    with pytest.raises(InputError, match="long: 121 s long, expected utterances of at most 120 s"):
        write_store(tmp_path / "s", find_recordings([tmp_path]))
    write_table(tmp_path / "segments", {"part": "long 0 10"})
    with pytest.raises(InputError, match="segments: not read.*Cut them into files first"):
        find_recordings([tmp_path])


def test_what_is_too_short_or_silent_or_empty_is_left_out_and_what_is_broken_is_named(tmp_path, capsys):
    rng = np.random.default_rng(2)
    for name, samples in {"good": tone(rng, 1.0), "short": tone(rng, 0.2), "silent": np.zeros(RATE), "no": []}.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE, subtype="PCM_16")
    (tmp_path / "zero.wav").write_bytes(b"")
    write_table(tmp_path / "wav.scp", {p.stem: str(p) for p in tmp_path.glob("*.wav")})
    assert [u.name for u in write_store(tmp_path / "s", find_recordings([tmp_path])).utterances] == ["good"]
    assert "4 left out" in capsys.readouterr().out
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    write_table(tmp_path / "wav.scp", {p.stem: str(p) for p in tmp_path.glob("*.wav")})
    with pytest.raises(InputError, match=r"broken"):
        write_store(tmp_path / "s2", find_recordings([tmp_path]))
    assert not (tmp_path / "s2").exists()


def test_a_store_that_does_not_fit_its_index_is_refused(dump, tmp_path):
    for name in ("audio.raw", "index.tsv", "sources"):
        (tmp_path / name).write_bytes((dump / name).read_bytes()[: -2 if name == "audio.raw" else None])
    with pytest.raises(InputError, match="do not belong together"):
        read_store(tmp_path)
    with pytest.raises(InputError, match="run the stage"):
        read_store(tmp_path / "nothing")


def test_a_recording_to_evaluate_on_is_refused_by_name_and_by_content(corpus, tmp_path):
    recordings = find_recordings([corpus])
    (tmp_path / "other.wav").write_bytes((corpus / "tone007.wav").read_bytes())
    write_table(tmp_path / "wav.scp", {"another-name": str(tmp_path / "other.wav")})
    with pytest.raises(InputError, match="tone007"):
        refuse_held_out(recordings, [tmp_path])
    soundfile.write(tmp_path / "other.wav", tone(np.random.default_rng(9), 1.0), RATE, subtype="PCM_16")
    refuse_held_out(recordings, [tmp_path])
    write_table(tmp_path / "wav.scp", {"tone008": str(tmp_path / "other.wav")})
    with pytest.raises(InputError, match="tone008"):
        refuse_held_out(recordings, [tmp_path])


def test_the_recipe_pretrains_on_no_dev_or_test_utterance():
    """run.sh trains on the train parts only and has the others checked, and the lists are disjoint."""
    run = (ROOT / "egs2/s3router/ssl/ssl1/run.sh").read_text(encoding="utf-8")
    corpora = re.search(r'^corpora="(.*)"$', run, re.MULTILINE)[1].split()
    held_out = re.search(r'^held_out="(.*)"$', run, re.MULTILINE)[1].split()
    evaluated = {f"{part}_{lang}" for part in ("dev", "test") for lang in LANGS}
    assert {name for name in corpora if name.rpartition("_")[2] in LANGS} == {f"train_{lang}" for lang in LANGS} | {
        name for name in corpora if name.startswith("festvox")
    }
    assert set(held_out) == evaluated and not evaluated & set(corpora)
    for lang in LANGS:
        lists = read_lists(lang)
        assert not set(lists["train"]) & (set(lists["dev"]) | set(lists["test"]))
