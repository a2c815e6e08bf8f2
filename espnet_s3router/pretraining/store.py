"""The audio store: all recordings of a pretraining run in one memory-mapped file, trimmed and levelled.

``audio.raw`` holds (samples,) int16 at 16 kHz; ``index.tsv`` gives the place of each utterance in it.
"""

import argparse
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from espnet_s3router.errors import InputError, raise_problems
from espnet_s3router.files import replacing_dir
from espnet_s3router.pretraining.recordings import (
    FS,
    SHORTEST_S,
    WHERE,
    Recording,
    find_recordings,
    name_hash,
    prepare,
    refuse_held_out,
)
from espnet_s3router.text_files import read_lines

HELD_OUT_ONE_IN = 50  # utterances: one of them is kept for validation


@dataclass(frozen=True)
class Utterance:
    """The place of a recording in the store: ``length`` samples from ``start`` on.

    ``trimmed`` is the number of samples at FS that were removed at the start of the recording.
    """

    name: str
    corpus: str
    source: str
    start: int
    length: int
    trimmed: int

    @property
    def held_out(self) -> bool:
        """True for an utterance of the validation set. This depends on the name alone."""
        return name_hash(self.name) % HELD_OUT_ONE_IN == 0


@dataclass(frozen=True)
class Store:
    """The samples of all recordings and the place of each."""

    audio: np.ndarray
    utterances: tuple[Utterance, ...]
    digest: str
    """Depends on the names, folders, paths and contents of all source recordings."""

    def waveform(self, utterance: Utterance) -> np.ndarray:
        """Return (samples,) float32 with zero mean and unit variance, the input of the model."""
        samples = self.audio[utterance.start : utterance.start + utterance.length].astype(np.float32)
        return (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)

    @property
    def hours(self) -> float:
        return sum(utterance.length for utterance in self.utterances) / FS / 3600


def write_store(folder: Path, recordings: Iterable[Recording], hours: float = 0.0) -> Store:
    """Make the store, unless ``folder`` holds a finished store of the same recordings.

    ``hours`` above 0 limits the audio: recordings are then drawn from all corpora at the same rate. Recordings that are too
    short or silent are skipped and counted. Raises InputError for audio that cannot be read or is too long.
    """
    recordings = sorted(recordings)
    lines = [" ".join(map(str, recording)) for recording in recordings]
    lines += [f"{hours} hours"] if hours else []
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    if (folder / "sources").is_file() and (folder / "sources").read_text().strip() == digest:
        return read_store(folder)
    if hours:
        recordings.sort(key=lambda recording: name_hash(recording.name))
    with replacing_dir(folder) as temporary:
        utterances, skipped = _write_audio(temporary / "audio.raw", recordings, hours)
        rows = ("\t".join(map(str, astuple(utterance))) + "\n" for utterance in utterances)
        (temporary / "index.tsv").write_text("".join(rows), encoding="utf-8")
        (temporary / "sources").write_text(f"{digest}\n")
    store = read_store(folder)
    reason = f"shorter than {SHORTEST_S} s, or silent"
    print(f"{folder}: {len(utterances)} recordings, {store.hours:.2f} h; {skipped} left out ({reason})")
    return store


def _write_audio(path: Path, recordings: Sequence[Recording], hours: float) -> tuple[list[Utterance], int]:
    """Write the samples of the recordings; return their places and the number of skipped recordings."""
    problems: list[str] = []
    utterances: list[Utterance] = []
    skipped = start = 0
    with path.open("wb") as raw:
        for name, corpus, source, _ in recordings:
            try:
                prepared = prepare(source)
            except InputError as error:
                problems.append(f"{name}: {error}")
                continue
            if prepared is None:
                skipped += 1
                continue
            samples, trimmed = prepared
            raw.write(np.rint(samples * 32767).astype(np.int16).tobytes())
            utterances.append(Utterance(name, corpus, str(source), start, len(samples), trimmed))
            start += len(samples)
            if hours and start >= hours * 3600 * FS:
                break
    raise_problems(problems, WHERE, "Mend or remove these recordings and run again.")
    if not utterances:
        raise InputError(f"{WHERE}: {len(recordings)} recordings, none of at least {SHORTEST_S} s of speech")
    return utterances, skipped


def read_store(folder: Path) -> Store:
    """Read a store. Raises InputError if ``folder`` holds none or its files do not belong together."""
    try:
        digest = (folder / "sources").read_text(encoding="utf-8").strip()
        audio = np.memmap(folder / "audio.raw", dtype=np.int16, mode="r")
    except OSError as error:
        raise InputError(f"{folder} holds no pretraining audio ({error.strerror}): run the stage that formats it") from error
    utterances = []
    for line in read_lines(folder / "index.tsv"):
        name, corpus, source, *numbers = line.split("\t")
        utterances.append(Utterance(name, corpus, source, *map(int, numbers)))
    store = Store(audio, tuple(utterances), digest)
    if store.utterances[-1].start + store.utterances[-1].length != len(audio):
        raise InputError(f"{folder}: index.tsv and audio.raw do not belong together. Remove the folder and format again")
    return store


def run(args: argparse.Namespace) -> None:
    """Make the store of data directories, none of which may hold a recording of ``held_out``."""
    recordings = find_recordings(args.data_dirs)
    refuse_held_out(recordings, args.held_out)
    write_store(args.folder, recordings, args.hours)
