"""All recordings of a pretraining run in one memory-mapped file, trimmed and levelled.

    python -m espnet_s3router.pretraining.store dump data/train_en data/fillets_cs --held_out data/dev_en data/test_en

``audio.raw`` (samples,) int16 at 16 kHz; ``index.tsv`` names each utterance's place in it.
"""

import argparse
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_s3router.data.audio import BadAudio, load_mono, resample
from espnet_s3router.data.tables import raise_problems, read_table
from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import digest as file_digest
from espnet_s3router.files import replacing_dir

FS = 16000
FRAME = 320  # samples: 20 ms, for finding silence
SILENCE_DB = -40.0  # below the loud frames of the same recording
MARGIN = 5 * FRAME  # samples of silence that stay at both ends
LEVEL_DB = -23.0  # RMS of the frames that are not silent, below full scale
SHORTEST_S = 0.5
LONGEST_S = 120  # attention of a whole recording, when its hidden states are clustered, grows with the square
LEFT_OUT = frozenset({"silent", "empty"})  # nothing to hear is no mistake of the one who collects recordings
HELD_OUT = 50  # one utterance in so many is left out of training, to measure on


@dataclass(frozen=True)
class Utterance:
    """Where a recording lies in the store: ``length`` samples from ``start``, which are those from ``trimmed`` on of the
    recording at 16 kHz."""

    name: str
    corpus: str
    source: str
    start: int
    length: int
    trimmed: int

    @property
    def held_out(self) -> bool:
        """Whether it is kept for measuring; depends on the name alone."""
        return name_hash(self.name) % HELD_OUT == 0


@dataclass(frozen=True)
class Store:
    """The recordings and where they are."""

    audio: np.ndarray
    utterances: tuple[Utterance, ...]
    digest: str
    """Of the names, folders, paths and contents of all recordings it was made of."""

    def waveform(self, utterance: Utterance) -> np.ndarray:
        """(samples,) float32 with zero mean and unit variance, as the model takes it."""
        samples = self.audio[utterance.start : utterance.start + utterance.length].astype(np.float32)
        return (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)

    @property
    def hours(self) -> float:
        return sum(utterance.length for utterance in self.utterances) / FS / 3600


def name_hash(name: str) -> int:
    """A number that depends on the name alone and on no neighbour."""
    return int(hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(), 16)


def trim(samples: np.ndarray) -> tuple[np.ndarray, int]:
    """(samples,) without the silence at both ends, but for 0.1 s of it, levelled to LEVEL_DB unless that would clip; and how
    many samples went at the beginning."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.square(frames).mean(axis=1) + 1e-12
    speech = np.flatnonzero(power > np.percentile(power, 95) * 10 ** (SILENCE_DB / 10))
    level = np.sqrt(power[speech].mean())
    first = max(0, speech[0] * FRAME - MARGIN)
    kept = samples[first : (speech[-1] + 1) * FRAME + MARGIN]
    return kept * min(10 ** (LEVEL_DB / 20) / level, 0.999 / np.abs(kept).max()), int(first)


def write_store(folder: Path, sources: Iterable[tuple[str, str, Path]], hours: float = 0.0) -> Store:
    """Make the store from (utterance, corpus, audio file); a finished one of the same sources is kept. Of more than
    ``hours`` (0: any) it takes so many, from all corpora alike.

    What is too short or silent is left out and counted. InputError for audio that cannot be read.
    """
    sources = sorted(sources)
    told = [f"{u} {c} {p} {file_digest(p) if p.is_file() else 'missing'}" for u, c, p in sources]
    told += [f"{hours} hours"] if hours else []
    digest = hashlib.sha256("\n".join(told).encode()).hexdigest()
    if (folder / "sources").is_file() and (folder / "sources").read_text().strip() == digest:
        return read_store(folder)
    if hours:
        sources.sort(key=lambda source: name_hash(source[0]))
    problems: list[str] = []
    left_out = 0
    utterances, start = [], 0
    with replacing_dir(folder) as temporary:
        with (temporary / "audio.raw").open("wb") as raw:
            for name, corpus, path in sources:
                try:
                    sound = load_mono(path)
                except BadAudio as error:
                    if error.rule not in LEFT_OUT:
                        problems.append(f"{name}: {error}")
                    left_out += 1
                    continue
                if len(sound.samples) > LONGEST_S * sound.rate:
                    seconds = len(sound.samples) / sound.rate
                    problems.append(f"{name}: {seconds:.0f} s long, expected utterances of at most {LONGEST_S} s")
                    continue
                samples = resample(sound.samples, sound.rate, FS)
                samples, trimmed = trim(samples) if len(samples) >= FRAME else (samples, 0)
                if len(samples) < SHORTEST_S * FS:
                    left_out += 1
                    continue
                raw.write(np.rint(samples * 32767).astype(np.int16).tobytes())
                utterances.append(Utterance(name, corpus, str(path), start, len(samples), trimmed))
                start += len(samples)
                if hours and start >= hours * 3600 * FS:
                    break
        raise_problems(problems, "pretraining audio", "Mend or remove these recordings and run again.")
        if not utterances:
            raise InputError(f"pretraining audio: {len(sources)} recordings, none of at least {SHORTEST_S} s of speech")
        rows = (f"{u.name}\t{u.corpus}\t{u.source}\t{u.start}\t{u.length}\t{u.trimmed}\n" for u in utterances)
        (temporary / "index.tsv").write_text("".join(rows), encoding="utf-8")
        (temporary / "sources").write_text(f"{digest}\n")
    store = read_store(folder)
    why = f"shorter than {SHORTEST_S} s, or silent"
    print(f"{folder}: {len(utterances)} recordings, {store.hours:.2f} h; {left_out} left out ({why})")
    return store


def read_store(folder: Path) -> Store:
    """A store that ``write_store`` has made; InputError when there is none."""
    try:
        digest = (folder / "sources").read_text(encoding="utf-8").strip()
        lines = (folder / "index.tsv").read_text(encoding="utf-8").splitlines()
        audio = np.memmap(folder / "audio.raw", dtype=np.int16, mode="r")
    except OSError as error:
        raise InputError(f"{folder} holds no pretraining audio ({error.strerror}): run the stage that formats it") from error
    rows = [line.split("\t") for line in lines]
    store = Store(audio, tuple(Utterance(*row[:3], *map(int, row[3:])) for row in rows), digest)
    if store.utterances[-1].start + store.utterances[-1].length != len(audio):
        raise InputError(f"{folder}: index.tsv and audio.raw do not belong together. Remove the folder and format again")
    return store


def sources_of(data_dirs: Sequence[Path]) -> list[tuple[str, str, Path]]:
    """(utterance, corpus, audio file) of Kaldi-style folders, of which only wav.scp is read; InputError where it is missing,
    or where ``segments`` says that utterances are parts of its recordings."""
    problems: list[str] = []
    found: list[tuple[str, str, Path]] = []
    for folder in data_dirs:
        told: list[str] = []
        table = read_table(folder / "wav.scp", told)
        if (folder / "segments").exists():
            told.append("segments: not read, wav.scp would give whole sessions. Cut them into files first")
        problems += [f"{folder}: {problem}" for problem in told]
        found += [(utt, folder.name, Path(path)) for utt, path in table.items()]
    names = [name for name, _, _ in found]
    if len(names) > len(set(names)):
        twice = next(name for name in names if names.count(name) > 1)
        problems.append(f"utterance {twice!r} occurs twice")
    raise_problems(problems, "pretraining audio", "Expected folders with a wav.scp of paths, and each utterance once.")
    return found


def refuse_held_out(sources: Iterable[tuple[str, str, Path]], held_out: Sequence[Path]) -> None:
    """InputError when a recording of the folders ``held_out`` is among the sources, by its name or by its content."""
    kept_back = sources_of(held_out)
    names = {name for name, _, _ in kept_back}
    contents = {file_digest(path) for _, _, path in kept_back}
    problems = [
        f"{name} ({corpus}) is a recording to evaluate on"
        for name, corpus, path in sources
        if name in names or file_digest(path) in contents
    ]
    raise_problems(problems, "pretraining audio", "Take these recordings out: figures on them would mean nothing.")


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Make the store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("data_dirs", type=Path, nargs="+")
    parser.add_argument("--held_out", type=Path, nargs="*", default=[], help="folders of recordings that must not be in it")
    parser.add_argument("--hours", type=float, default=0.0, help="at most so much, drawn from all folders; 0: everything")
    args = parser.parse_args(argv)
    sources = sources_of(args.data_dirs)
    refuse_held_out(sources, args.held_out)
    write_store(args.folder, sources, args.hours)


if __name__ == "__main__":
    raise SystemExit(main())
