"""Audio files: each fault has its rule, unusual files give a notice, and the samples are exact."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_audio import encode

from espnet_s3router.data.audio import BadAudio, change_speed, load_mono, resample, write_pcm16
from espnet_s3router.errors import InputError

FS = 16000


def tone(seconds: float = 0.5, fs: int = FS, hz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * fs)) / fs)).astype(np.float32)


def pcm16(samples: np.ndarray) -> np.ndarray:
    return (samples * 32767).astype(np.int16)


def wav(path: Path, samples: np.ndarray | None = None, fs: int = FS, **options) -> Path:
    soundfile.write(path, tone() if samples is None else samples, fs, **options)
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def rule(path: Path) -> str:
    with pytest.raises(BadAudio) as caught:
        load_mono(path)
    assert str(path) in str(caught.value)
    return caught.value.rule


def test_missing_and_empty(tmp_path: Path) -> None:
    assert rule(tmp_path / "none.wav") == "missing"
    (tmp_path / "zero.wav").write_bytes(b"")
    assert rule(tmp_path / "zero.wav") == "empty"
    assert rule(wav(tmp_path / "header.wav", np.zeros(0, np.float32))) == "empty"


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_truncated(tmp_path: Path, suffix: str) -> None:
    path = wav(tmp_path / f"a.{suffix}", tone(2.0) + 0.01 * np.random.default_rng(0).standard_normal(2 * FS))
    assert len(load_mono(path).samples) == pytest.approx(2 * FS, abs=2)
    assert rule(cut(path)) == "truncated"


def test_truncated_inside_wav_header(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav")
    path.write_bytes(path.read_bytes()[:30])
    assert rule(path) == "truncated"


def test_wav_written_into_a_pipe_states_no_length(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", subtype="PCM_16")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(content)
    assert len(load_mono(path).samples) == FS // 2


def test_ogg_without_its_end_is_noticed(tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(20 * FS)
    path = wav(tmp_path / "a.ogg", noise)
    assert load_mono(path).notices == ()
    assert "end mark" in load_mono(cut(path, 0.8)).notices[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(tmp_path: Path, value: float) -> None:
    samples = tone()
    samples[100] = value
    assert rule(wav(tmp_path / "a.wav", samples, subtype="FLOAT")) == "not_finite"


@pytest.mark.parametrize(("value", "subtype"), [(0.0, "PCM_16"), (0.0, "PCM_U8"), (-1.0, "PCM_U8")])
def test_silent(tmp_path: Path, value: float, subtype: str) -> None:
    samples = np.full(FS, value, np.float32)
    assert rule(wav(tmp_path / "a.wav", samples, subtype=subtype)) == "silent"


def test_no_audio_inside(tmp_path: Path) -> None:
    for name in ("a.wav", "a.mp3", "a.m4a", "a"):
        path = tmp_path / name
        path.write_bytes(b"this is a text, not a recording\n" * 50)
        assert rule(path) in ("unreadable", "truncated", "empty")


def test_8_bit_is_read_with_a_notice(tmp_path: Path) -> None:
    sound = load_mono(wav(tmp_path / "a.wav", subtype="PCM_U8"))
    assert "8 bit" in sound.notices[0]
    assert np.abs(sound.samples - tone()).max() <= 1 / 100


def test_stereo_is_averaged_with_a_notice(tmp_path: Path) -> None:
    sound = load_mono(wav(tmp_path / "a.wav", np.stack([tone(), np.zeros(FS // 2)], axis=1)))
    assert sound.notices == ("2 channels averaged to one",)
    assert np.abs(sound.samples - tone() / 2).max() < 1e-4


def test_g722_and_m4a_through_av(tmp_path: Path) -> None:
    g722 = encode(tmp_path / "a.g722", pcm16(tone()), FS)
    sound = load_mono(g722)
    assert (sound.rate, len(sound.samples)) == (FS, 2 * g722.stat().st_size)
    m4a = encode(tmp_path / "a.m4a", pcm16(tone(1.0)), FS, "aac", "ipod")
    assert len(load_mono(m4a).samples) == pytest.approx(FS, abs=3000)


@settings(max_examples=30)
@given(st.lists(st.integers(-32768, 32767), min_size=2, max_size=400).filter(lambda x: len(set(x)) > 1))
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_16_bit_samples_come_back_bit_for_bit(tmp_path_factory, suffix: str, values: list[int]) -> None:
    path = tmp_path_factory.mktemp("exact") / f"a.{suffix}"
    assert write_pcm16(path, np.array(values, np.int16), FS) == 0
    again = path.with_name(f"b.{suffix}")
    assert write_pcm16(again, load_mono(path).samples, FS) == 0
    assert soundfile.read(again, dtype="int16")[0].tolist() == values


def test_clipped_samples_are_counted(tmp_path: Path) -> None:
    assert write_pcm16(tmp_path / "a.wav", np.array([0.0, 1.5, -1.5, 0.5], np.float32), FS) == 2
    assert soundfile.read(tmp_path / "a.wav", dtype="int16")[0].tolist() == [0, 32767, -32768, 16384]


def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *args: object, **kwargs: object) -> None:
        Path(path).write_bytes(b"half")
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr(soundfile, "write", full)
    with pytest.raises(InputError, match="free some"):
        write_pcm16(tmp_path / "a.wav", tone(), FS)
    assert list(tmp_path.iterdir()) == []


def peak_hz(samples: np.ndarray, fs: int) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * fs / len(samples))


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampling_keeps_pitch_and_duration(rate: int) -> None:
    out = resample(tone(1.0, fs=rate), rate, FS)
    assert len(out) == pytest.approx(FS, abs=2)
    assert peak_hz(out, FS) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_moves_pitch_and_duration(factor: float) -> None:
    out = change_speed(tone(1.0), factor)
    assert len(out) == pytest.approx(FS / factor, abs=2)
    assert peak_hz(out, FS) == pytest.approx(440 * factor, abs=2)
