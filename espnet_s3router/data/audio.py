"""Audio files: read one as mono samples, resample, change the speed, write 16 bit samples.

soundfile (libsndfile) reads WAV, FLAC, MP3 and Ogg. PyAV reads all other formats (G.722, M4A, …).
"""

import os
import struct
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from espnet_s3router.errors import InputError
from espnet_s3router.files import replacing_file

SNDFILE_SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aiff", ".au", ".sph"})
EIGHT_BIT = frozenset({"PCM_U8", "PCM_S8", "ULAW", "ALAW"})
FULL_SCALE = 32768.0  # of 16 bit samples
UNKNOWN_LENGTH = 0x7FFFF000  # programs that write WAV into a pipe state this length or a greater one
DURATION_SLACK_S = 0.1  # the duration that a container states includes encoder padding


class BadAudio(InputError):
    """An audio file that cannot be used. ``rule`` names the fault in one word (missing, empty, unreadable, …)."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail


@dataclass(frozen=True)
class Sound:
    """Mono ``samples`` (frames,) float32 in [-1, 1), their ``rate`` in Hz, and ``notices`` of unusual properties."""

    samples: np.ndarray
    rate: int
    notices: tuple[str, ...] = ()


def load_mono(path: Path | str) -> Sound:
    """Read an audio file and average its channels.

    Raises BadAudio with one of these rules: ``missing``, ``empty``, ``unreadable``, ``truncated`` (fewer samples
    than the header states), ``not_finite`` (NaN or infinity), ``silent`` (all samples are equal).
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
        stated, rate, channels = file.frames, file.samplerate, file.channels
        try:
            samples = file.read(dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise BadAudio("truncated", f"{path} ends while it is being decoded ({error})") from error
    if len(samples) < stated:
        raise BadAudio("truncated", f"{path} holds {len(samples)} frames, its header states {stated}")
    return samples.reshape(-1, channels), rate, notices


def _check_wav_length(path: Path) -> None:
    """Compare the header of a WAV file with its size, because libsndfile reads a cut file as a shorter one."""
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
                    raise BadAudio("truncated", f"{path} holds {held} bytes of samples, its header states {length}")
                return
            file.seek(length + length % 2, os.SEEK_CUR)
    raise BadAudio("truncated", f"{path} ends inside its WAV header")


def _has_ogg_end(path: Path) -> bool:
    """True if the last Ogg page carries the end-of-stream flag (RFC 3533, section 6)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * 65536))  # a page is shorter than 64 KiB
        tail = file.read()
    page = tail.rfind(b"OggS")
    return page >= 0 and len(tail) > page + 5 and bool(tail[page + 5] & 4)


def _read_av(path: Path) -> tuple[np.ndarray, int, list[str]]:
    import av

    # Raw G.722 has no header that shows its format.
    demuxer = "g722" if path.suffix.lower() == ".g722" else None
    blocks, rate, stated_s = [], 0, 0.0
    try:
        with av.open(str(path), format=demuxer) as container:
            if not container.streams.audio:
                raise BadAudio("unreadable", f"{path} holds no audio stream")
            stream = container.streams.audio[0]
            rate = stream.rate
            stated_s = float((stream.duration or 0) * (stream.time_base or 0))
            resampler = av.AudioResampler(format="fltp")  # float, one plane per channel, same rate
            for frame in chain(container.decode(stream), (None,)):  # None ends the stream
                blocks += [out.to_ndarray() for out in resampler.resample(frame)]
    except av.error.FFmpegError as error:
        rule = "truncated" if blocks else "unreadable"
        raise BadAudio(rule, f"{path} cannot be decoded as audio ({error.strerror})") from error
    samples = np.concatenate(blocks, axis=1).T if blocks else np.zeros((0, 1), np.float32)
    seconds = len(samples) / rate
    if demuxer is None and seconds < 0.98 * stated_s - DURATION_SLACK_S:
        raise BadAudio("truncated", f"{path} holds {seconds:.2f} s, its header states {stated_s:.2f} s")
    return samples, rate, []


def resample(samples: np.ndarray, rate: float, fs: float) -> np.ndarray:
    """(frames,) at ``rate`` Hz -> (about frames · fs / rate,) at ``fs`` Hz; band-limited (soxr, HQ)."""
    if rate == fs:
        return samples
    import soxr

    return soxr.resample(samples, rate, fs)


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Play faster (factor > 1) or slower at the same rate. The pitch changes too, as with the effect ``speed`` of sox.

    Source: Ko et al. 2015, "Audio augmentation for speech recognition".
    """
    return resample(samples, factor, 1.0)


def write_pcm16(path: Path, samples: np.ndarray, fs: int) -> int:
    """Write mono 16 bit audio atomically and return the number of clipped samples. The suffix (.flac, .wav) is the format.

    ``samples`` (frames,): float in [-1, 1) or int16. Samples that came from 16 bit audio stay exactly the same.
    Raises InputError when the file cannot be written (a full disk).
    """
    import soundfile

    clipped = 0
    if samples.dtype != np.int16:
        scaled = np.rint(samples * FULL_SCALE)
        clipped = int(((scaled > 32767) | (scaled < -32768)).sum())
        samples = np.clip(scaled, -32768, 32767).astype(np.int16)
    try:
        with replacing_file(path, sync=False) as temporary:
            soundfile.write(temporary, samples, fs, subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path} cannot be written ({error}). Expected room on the disk: free some.") from error
    return clipped
