"""Recordings for pretraining: found in data directories, checked, trimmed and brought to one level."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet_s3router.data.audio import load_mono, resample
from espnet_s3router.data.decode import BadAudio
from espnet_s3router.errors import InputError, raise_problems
from espnet_s3router.files import digest
from espnet_s3router.text_files import read_table

FS = 16000  # Hz
FRAME = 320  # samples (20 ms) over which the level is measured
SILENCE_DB = -40.0  # level of a silent frame, relative to the loud frames of the same recording
MARGIN = 5 * FRAME  # samples of silence that stay at both ends
LEVEL_DB = -23.0  # RMS of the frames that are not silent, relative to full scale
SHORTEST_S = 0.5
LONGEST_S = 120  # clustering attends over a whole recording, at a cost that grows with the square of its length
SKIPPED = frozenset({"silent", "empty"})  # a recording without sound is no error of the user
WHERE = "pretraining audio"
MISSING = "missing"  # content of a file that is not there


class Recording(NamedTuple):
    """One audio file. ``corpus`` is the name of its data directory, ``content`` the SHA-256 of the file, or ``missing``."""

    name: str
    corpus: str
    path: Path
    content: str


def find_recordings(data_dirs: Sequence[Path]) -> list[Recording]:
    """List the recordings of Kaldi-style data directories, of which only wav.scp is read.

    Raises InputError for a missing wav.scp, for a name that occurs twice, and for a file ``segments``: utterances that are
    parts of recordings are not supported.
    """
    problems: list[str] = []
    recordings: list[Recording] = []
    for folder in data_dirs:
        own_problems: list[str] = []
        table = read_table(folder / "wav.scp", own_problems)
        if (folder / "segments").exists():
            own_problems.append("segments: not read, wav.scp would give whole sessions. Cut them into files first")
        problems += [f"{folder}: {problem}" for problem in own_problems]
        for name, source in table.items():
            path = Path(source)
            recordings.append(Recording(name, folder.name, path, digest(path) if path.is_file() else MISSING))
    names = [recording.name for recording in recordings]
    if len(names) > len(set(names)):
        twice = next(name for name in names if names.count(name) > 1)
        problems.append(f"utterance {twice!r} occurs twice")
    raise_problems(problems, WHERE, "Expected folders with a wav.scp of paths, and each utterance once.")
    return recordings


def refuse_held_out(recordings: Iterable[Recording], held_out: Sequence[Path]) -> None:
    """Raise InputError if a recording of the data directories ``held_out`` is in ``recordings``, by name or by content."""
    evaluated = find_recordings(held_out)
    names = {recording.name for recording in evaluated}
    contents = {recording.content for recording in evaluated} - {MISSING}
    problems = [
        f"{recording.name} ({recording.corpus}) is a recording to evaluate on"
        for recording in recordings
        if recording.name in names or recording.content in contents
    ]
    raise_problems(problems, WHERE, "Remove these recordings: a model must not be evaluated on its training data.")


def name_hash(name: str) -> int:
    """Return a number that depends on the name alone."""
    return int(hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(), 16)


def prepare(path: Path) -> tuple[np.ndarray, int] | None:
    """Read a recording as (samples,) float in [-1, 1) at FS, trimmed and levelled, with the samples removed at its start.

    Returns None for a recording that is empty, silent or shorter than SHORTEST_S. Raises InputError for one that is longer
    than LONGEST_S or cannot be read.
    """
    try:
        sound = load_mono(path)
    except BadAudio as error:
        if error.rule in SKIPPED:
            return None
        raise
    if len(sound.samples) > LONGEST_S * sound.rate:
        seconds = len(sound.samples) / sound.rate
        raise InputError(f"{seconds:.0f} s long, expected utterances of at most {LONGEST_S} s")
    samples = resample(sound.samples, sound.rate, FS)
    samples, trimmed = trim(samples) if len(samples) >= FRAME else (samples, 0)
    return (samples, trimmed) if len(samples) >= SHORTEST_S * FS else None


def trim(samples: np.ndarray) -> tuple[np.ndarray, int]:
    """Remove silence from both ends of (samples,) except 0.1 s, and bring the rest to LEVEL_DB.

    The level stays lower where the samples would clip. Returns also the number of samples removed at the start.
    """
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.square(frames).mean(axis=1) + 1e-12
    speech = np.flatnonzero(power > np.percentile(power, 95) * 10 ** (SILENCE_DB / 10))
    level = np.sqrt(power[speech].mean())
    first = max(0, speech[0] * FRAME - MARGIN)
    kept = samples[first : (speech[-1] + 1) * FRAME + MARGIN]
    return kept * min(10 ** (LEVEL_DB / 20) / level, 0.999 / np.abs(kept).max()), int(first)
