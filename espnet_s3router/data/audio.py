"""One audio file in, mono samples out: what can be wrong with it is found here and named.

soundfile (libsndfile) reads WAV, FLAC, MP3 and Ogg; PyAV reads everything else (G.722, M4A, …).
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_s3router.errors import InputError

SNDFILE_SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aiff", ".au", ".sph"})
EIGHT_BIT = frozenset({"PCM_U8", "PCM_S8", "ULAW", "ALAW"})
FULL_SCALE = 32768.0  # of 16 bit samples
UNKNOWN_LENGTH = 0x7FFFF000  # programs that write WAV into a pipe put this or more as the length
DURATION_SLACK_S = 0.1  # a container's stated duration includes encoder padding


class BadAudio(InputError):
    """An audio file that cannot be used. ``rule`` is one word: missing, empty, unreadable, …"""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail


@dataclass(frozen=True)
class Sound:
    """``samples`` (frames,) float32 in [-1, 1), mono; ``rate`` in Hz; ``notices``: what was unusual."""

    samples: np.ndarray
    rate: int
    notices: tuple[str, ...] = ()


def load_mono(path: Path | str) -> Sound:
    """Read an audio file as mono.

    Raises BadAudio with rule ``missing``, ``empty``, ``unreadable``, ``truncated`` (fewer samples
    than its header promises), ``not_finite`` (NaN or infinity) or ``silent`` (every sample equal).
    """
    path = Path(path)
    if not path.is_file():
        raise BadAudio("missing", f"no file {path}")
    if path.stat().st_size == 0:
        raise BadAudio("empty", f"{path} holds 0 bytes")
    read = _read_sndfile if path.suffix.lower() in SNDFILE_SUFFIXES else _read_av
    samples, rate, notices = read(path)  # (frames, channels)
    if len(samples) == 0:
        raise BadAudio("empty", f"{path} holds no samples")
    if not np.isfinite(samples).all():
        bad = int((~np.isfinite(samples)).any(axis=1).sum())
        raise BadAudio("not_finite", f"{path} holds NaN or infinity in {bad} of {len(samples)} frames")
    if samples.shape[1] > 1:
        notices.append(f"{samples.shape[1]} channels averaged to one")
    mono = samples.mean(axis=1, dtype=np.float32)  # (frames,)
    if mono.min() == mono.max():
        raise BadAudio("silent", f"every sample of {path} is {mono[0]:g}")
    return Sound(mono, rate, tuple(notices))


def _read_sndfile(path: Path) -> tuple[np.ndarray, int, list[str]]:
    import soundfile

    notices = []
    _check_wav_length(path)
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError:
        return _read_av(path)  # a codec in WAV that libsndfile does not know, or a wrong suffix
    with file:
        if file.subtype in EIGHT_BIT:
            notices.append(f"8 bit samples ({file.subtype})")
        if file.format == "OGG" and not _has_ogg_end(path):
            notices.append("Ogg stream without its end mark, may be cut short")
        promised, rate, channels = file.frames, file.samplerate, file.channels
        try:
            samples = file.read(dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise BadAudio("truncated", f"{path} breaks off while being decoded ({error})") from error
    if len(samples) < promised:
        raise BadAudio("truncated", f"{path} holds {len(samples)} of {promised} frames of its header")
    return samples.reshape(-1, channels), rate, notices


def _check_wav_length(path: Path) -> None:
    """libsndfile takes a cut WAV as a shorter one without a word: compare its header with its size."""
    size = path.stat().st_size
    with path.open("rb") as file:
        riff = file.read(12)
        if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
            return
        while len(header := file.read(8)) == 8:
            name, length = header[:4], struct.unpack("<I", header[4:])[0]
            if name == b"data":
                held = size - file.tell()
                if held < length < UNKNOWN_LENGTH:
                    raise BadAudio("truncated", f"{path} holds {held} of {length} bytes of its header")
                return
            file.seek(length + length % 2, os.SEEK_CUR)
    raise BadAudio("truncated", f"{path} ends inside its WAV header")


def _has_ogg_end(path: Path) -> bool:
    """Whether the last Ogg page carries the end-of-stream flag (RFC 3533, section 6)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * 65536))  # a page is shorter than 64 KiB
        tail = file.read()
    page = tail.rfind(b"OggS")
    return page >= 0 and len(tail) > page + 5 and bool(tail[page + 5] & 4)


def _read_av(path: Path) -> tuple[np.ndarray, int, list[str]]:
    import av

    # Raw G.722 has no header to guess the format from.
    demuxer = "g722" if path.suffix.lower() == ".g722" else None
    blocks, rate, promised_s = [], 0, 0.0
    try:
        with av.open(str(path), format=demuxer) as container:
            if not container.streams.audio:
                raise BadAudio("unreadable", f"{path} holds no audio stream")
            stream = container.streams.audio[0]
            rate = stream.rate
            promised_s = float((stream.duration or 0) * (stream.time_base or 0))
            resampler = av.AudioResampler(format="fltp")  # float, one plane a channel; same rate
            for frame in container.decode(stream):
                blocks += [out.to_ndarray() for out in resampler.resample(frame)]
            blocks += [out.to_ndarray() for out in resampler.resample(None)]
    except av.error.FFmpegError as error:
        rule = "truncated" if blocks else "unreadable"
        raise BadAudio(rule, f"{path} cannot be decoded as audio ({error.strerror})") from error
    samples = np.concatenate(blocks, axis=1).T if blocks else np.zeros((0, 1), np.float32)
    if demuxer is None and samples.shape[0] / rate < 0.98 * promised_s - DURATION_SLACK_S:
        raise BadAudio("truncated", f"{path} holds {samples.shape[0] / rate:.2f} of {promised_s:.2f} s")
    return samples, rate, []


def resample(samples: np.ndarray, rate: float, fs: float) -> np.ndarray:
    """(frames,) at ``rate`` Hz -> (about frames · fs / rate,) at ``fs`` Hz; band-limited (soxr, HQ)."""
    if rate == fs:
        return samples
    import soxr

    return soxr.resample(samples, rate, fs)


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Play faster (factor > 1) or slower at the same rate; pitch moves with tempo, as sox ``speed``.

    Ko et al. 2015, "Audio augmentation for speech recognition".
    """
    return resample(samples, factor, 1.0)


def write_pcm16(path: Path, samples: np.ndarray, fs: int) -> int:
    """Write mono 16 bit audio (format by suffix: .flac or .wav) at once; return clipped samples.

    ``samples`` (frames,): float in [-1, 1) or int16. 16 bit input comes out bit for bit.
    Raises InputError when it cannot be written (a full disk).
    """
    import soundfile

    clipped = 0
    if samples.dtype != np.int16:
        scaled = np.rint(samples * FULL_SCALE)
        clipped = int(((scaled > 32767) | (scaled < -32768)).sum())
        samples = np.clip(scaled, -32768, 32767).astype(np.int16)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        soundfile.write(temporary, samples, fs, format=path.suffix[1:].upper(), subtype="PCM_16")
        temporary.rename(path)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path} cannot be written ({error}). Expected room on the disk: free some.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return clipped
