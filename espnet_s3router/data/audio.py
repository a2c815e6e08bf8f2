"""Audio files: read one as mono samples, resample, change the speed, write 16 bit samples."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_s3router.data.decode import BadAudio, decode
from espnet_s3router.errors import InputError
from espnet_s3router.files import replacing_file

FULL_SCALE = 32768.0  # of 16 bit samples
# The mean of n independent channels has 1/n of their power (-3 dB for stereo), and so has one voice in one of n channels.
# A mean 10 dB below that comes from channels that cancel each other: in stereo, a correlation below -0.9.
CANCELLED_DB = -10.0
# Peaks that resampling pushes over full scale hold less than 1 % of the power. A larger loss is heard as distortion.
# Samples on another scale than [-1, 1) lose nearly everything.
CLIPPED_DB = -20.0


@dataclass(frozen=True)
class Sound:
    """Mono ``samples`` (frames,) float32 in [-1, 1), their ``rate`` in Hz, and ``notices`` of unusual properties."""

    samples: np.ndarray
    rate: int
    notices: tuple[str, ...] = ()


def load_mono(path: Path | str) -> Sound:
    """Read an audio file and average its channels; use the loudest one where the average would cancel them.

    Raises BadAudio with one of these rules: ``missing``, ``empty``, ``unreadable``, ``truncated`` (the file ends before its
    container does), ``not_finite`` (NaN or infinity), ``silent`` (all samples are equal at 16 bit).
    """
    path = Path(path)
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError as error:
        raise BadAudio("missing", f"{path} cannot be read ({error.strerror})") from error
    if size is None:
        raise BadAudio("missing", f"no file {path}")
    if size == 0:
        raise BadAudio("empty", f"{path} holds 0 bytes")
    samples, rate, notices = decode(path)  # (frames, channels)
    if len(samples) == 0:
        raise BadAudio("empty", f"{path} holds no samples")
    if not np.isfinite(samples).all():
        bad = int((~np.isfinite(samples)).any(axis=1).sum())
        raise BadAudio("not_finite", f"{path} holds NaN or infinity in {bad} of {len(samples)} frames")
    mono, notice = one_channel(samples)
    if np.ptp(np.rint(mono * FULL_SCALE)) == 0:
        raise BadAudio("silent", f"every sample of {path} is {mono[0]:g} at 16 bit")
    return Sound(mono, rate, (*notices, *notice))


def load_at(path: Path | str, rate: int) -> np.ndarray:
    """Read an audio file as mono samples (frames,) at ``rate`` Hz. Errors as for ``load_mono``."""
    sound = load_mono(path)
    return resample(sound.samples, sound.rate, rate)


def one_channel(samples: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """(frames, channels) -> (frames,) and notices: the mean, or the loudest channel where channels cancel each other."""
    channels = samples.shape[1]
    mono = samples.mean(axis=1, dtype=np.float32)  # (frames,)
    if channels == 1:
        return mono, []
    power = np.square(samples, dtype=np.float64).mean(axis=0)  # (channels,)
    kept = np.square(mono, dtype=np.float64).mean()
    if kept < 10 ** (CANCELLED_DB / 10) * power.mean() / channels:
        loudest = int(power.argmax())
        notice = f"{channels} channels cancel each other, the loudest one is used: channel {loudest + 1}"
        return samples[:, loudest], [notice]
    return mono, [f"{channels} channels averaged to one"]


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
    Raises BadAudio (``clipped``) when clipping loses more than CLIPPED_DB of the power.
    Raises InputError when the file cannot be written (a full disk).
    """
    import soundfile

    clipped = 0
    if samples.dtype != np.int16:
        scaled = np.rint(samples * FULL_SCALE)
        limited = np.clip(scaled, -32768, 32767)
        clipped = int((scaled != limited).sum())
        lost, power = (np.square(part, dtype=np.float64).sum() for part in (scaled - limited, scaled))
        if lost > 10 ** (CLIPPED_DB / 10) * power:
            peak = abs(samples).max()
            detail = f"{clipped} of {len(samples)} samples of {path.name} lie outside [-1, 1), up to {peak:g}: scale them"
            raise BadAudio("clipped", detail)
        samples = limited.astype(np.int16)
    try:
        with replacing_file(path, sync=False) as temporary:
            soundfile.write(temporary, samples, fs, subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path} cannot be written ({error}). Expected room on the disk: free some.") from error
    return clipped
