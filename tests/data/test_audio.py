"""Audio files: each fault has its rule, unusual files give a notice, and the samples are exact."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_audio import encode

from espnet_s3router.data.audio import change_speed, load_mono, resample, write_pcm16
from espnet_s3router.data.decode import BadAudio
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


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "aiff", "au", "sph", "w64", "rf64"])
def test_truncated(tmp_path: Path, suffix: str) -> None:
    samples = tone(2.0) + 0.01 * np.random.default_rng(0).standard_normal(2 * FS)
    path = wav(tmp_path / f"a.{suffix}", samples, format={"sph": "NIST"}.get(suffix))
    assert len(load_mono(path).samples) == pytest.approx(2 * FS, abs=2)
    assert load_mono(path).notices == ()
    assert rule(cut(path)) == "truncated"


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_the_suffix_decides_nothing(tmp_path: Path, suffix: str) -> None:
    samples = tone(2.0) + 0.01 * np.random.default_rng(0).standard_normal(2 * FS)
    path = wav(tmp_path / f"a.{suffix}", samples).rename(tmp_path / "b.sph")
    assert len(load_mono(path).samples) == 2 * FS
    assert rule(cut(path)) == "truncated"


def mp3(path: Path, bit_rate: int, options: dict[str, str]) -> bytes:
    """Five seconds of MP3. ``options`` of FFmpeg decide whether a header counts the frames."""
    import av

    with av.open(str(path), "w", format="mp3", options=options) as file:
        stream = file.add_stream("mp3", rate=FS, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(tone(5.0)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = FS, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    return path.read_bytes()


PLAIN = {"write_xing": "0", "id3v2_version": "0"}


@pytest.mark.parametrize("rates", [(160_000, 16_000), (16_000, 160_000)])
@pytest.mark.parametrize("header", [PLAIN, {}], ids=["no count", "count of the first half"])
def test_mp3_is_read_to_its_end(tmp_path: Path, rates: tuple[int, int], header: dict[str, str]) -> None:
    """The bit rate changes in the middle, so that its first value says nothing about the duration (libsndfile#1001)."""
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3(path, rates[0], header) + mp3(tmp_path / "b.mp3", rates[1], {}))
    assert len(load_mono(path).samples) == pytest.approx(10 * FS, abs=0.2 * FS)
    cut(path, 0.8)
    assert rule(path) == "truncated"


def test_mp3_that_ends_before_its_count_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    content = mp3(path, 64_000, {})  # frames of 64 kbit/s at 16 kHz have 288 bytes
    path.write_bytes(content[: len(content) - 50 * 288])
    assert "may be cut short: 91 of 141" in load_mono(path).notices[0]


def flac_with_count(path: Path, frames: int) -> Path:
    """The count of frames is 36 bits of STREAMINFO (RFC 9639, section 8.2)."""
    content = bytearray(wav(path, tone(5.0)).read_bytes())
    field = int.from_bytes(content[18:26], "big") >> 36 << 36 | frames
    content[18:26] = field.to_bytes(8, "big")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("frames", [0, 40_000])
def test_flac_is_read_to_its_end(tmp_path: Path, frames: int) -> None:
    path = flac_with_count(tmp_path / "a.flac", frames)
    assert len(load_mono(path).samples) == 5 * FS
    assert rule(cut(path)) == "truncated"


def test_flac_that_ends_before_its_count(tmp_path: Path) -> None:
    assert rule(flac_with_count(tmp_path / "a.flac", 5 * FS + 1)) == "truncated"


@pytest.mark.parametrize("stated", [0, 1000])
def test_wav_is_read_behind_a_length_that_is_too_small(tmp_path: Path, stated: int) -> None:
    path = wav(tmp_path / "a.wav", tone(5.0), subtype="PCM_16")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", stated)
    path.write_bytes(content)
    sound = load_mono(path)
    assert len(sound.samples) == 5 * FS
    assert "more samples than its header states" in sound.notices[0]


@pytest.mark.parametrize("tail", [b"LIST" + struct.pack("<I", 9000) + b"\xaa" * 9000, b"\0" * 9000, b"LIST" + b"\x10" * 9])
def test_chunks_and_zeros_behind_the_samples_are_no_samples(tmp_path: Path, tail: bytes) -> None:
    path = wav(tmp_path / "a.wav", tone(5.0), subtype="PCM_16")
    path.write_bytes(path.read_bytes() + tail)
    assert (len(load_mono(path).samples), load_mono(path).notices) == (5 * FS, ())


def test_joined_ogg_streams_are_read_to_their_end(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.ogg", 0.1 * np.random.default_rng(0).standard_normal(5 * FS))
    path.write_bytes(2 * path.read_bytes())
    assert len(load_mono(path).samples) == pytest.approx(10 * FS, abs=0.1 * FS)


def test_aac_without_a_container_is_read_to_its_end(tmp_path: Path) -> None:
    samples = np.concatenate([0.3 * np.random.default_rng(0).standard_normal(5 * FS), np.zeros(5 * FS)])
    for order in (samples, samples[::-1]):  # FFmpeg estimates the duration from the first bit rate
        path = encode(tmp_path / "a.aac", pcm16(np.clip(order, -1, 1)), FS, "aac", "adts")
        assert len(load_mono(path).samples) == pytest.approx(10 * FS, abs=3000)


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
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"OggS")])  # without the last page
    assert "end mark" in load_mono(path).notices[0]


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


def inverted(share: float) -> np.ndarray:
    """(frames, 2): the second channel is the first one, inverted, and ``share`` of another signal."""
    return np.stack([tone(), -tone() + share * tone(hz=700)], axis=1)


def test_channels_that_cancel_each_other(tmp_path: Path) -> None:
    """whisperX#750: one channel of a stereo recording is inverted."""
    sound = load_mono(wav(tmp_path / "a.wav", inverted(0.0)))
    assert np.abs(sound.samples - tone()).max() < 1e-4
    assert sound.notices == ("2 channels cancel each other, the loudest one is used: channel 1",)
    assert "channel 2" in load_mono(wav(tmp_path / "b.wav", inverted(0.3))).notices[0]


def test_channels_that_only_differ_are_averaged(tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((FS, 8))
    for name, samples in {"independent": noise, "one of eight": noise * (np.arange(8) == 3)}.items():
        assert load_mono(wav(tmp_path / f"{name}.wav", samples)).notices == ("8 channels averaged to one",)


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
    assert write_pcm16(tmp_path / "a.wav", np.array([0.0, 1.1, -1.1, 0.5], np.float32), FS) == 2
    assert soundfile.read(tmp_path / "a.wav", dtype="int16")[0].tolist() == [0, 32767, -32768, 16384]


@pytest.mark.parametrize("scale", [1.5, 32768.0])
def test_samples_on_another_scale_are_refused(tmp_path: Path, scale: float) -> None:
    with pytest.raises(BadAudio, match=r"clipped: .* of 8000 samples of a.wav lie outside \[-1, 1\), up to"):
        write_pcm16(tmp_path / "a.wav", tone() / 0.3 * scale, FS)
    assert list(tmp_path.iterdir()) == []


def test_audio_below_16_bit_is_silence(tmp_path: Path) -> None:
    assert rule(wav(tmp_path / "a.wav", tone() * 1e-5, subtype="FLOAT")) == "silent"


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
