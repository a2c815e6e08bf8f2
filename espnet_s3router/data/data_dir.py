"""Kaldi-style data directories: read, check and write them, without Kaldi.

A data directory holds tables with one line per utterance (or speaker), ``key value``, sorted by key:

    wav.scp    utterance -> path of its audio file (no pipes; relative to the folder of the recipe)
    text       utterance -> transcript
    utt2spk    utterance -> speaker
    spk2utt    speaker -> utterances (optional)
    utt2speed  utterance -> speed factor, applied when the audio is formatted in stage 3 (optional)
    utt…       any other table or list with utterances as keys; every stage copies it (optional)
"""

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from espnet_s3router.errors import InputError, raise_problems
from espnet_s3router.files import replacing_dir
from espnet_s3router.text_files import Table, read_table, write_table

OWN_TABLES = frozenset({"utt2spk", "utt2speed", "utt2num_samples"})
UNSUPPORTED = ("segments", "reco2file_and_channel")  # they name parts of recordings as utterances


@dataclass(frozen=True)
class DataDir:
    """The tables of one data directory, each with utterances as keys.

    ``text`` holds empty transcripts only after reading with ``allow_empty_text``. ``speed`` holds the factors of
    utterances that are not at speed 1. ``extras`` maps the name of each further file to its table.
    """

    wav: Table
    text: Table
    utt2spk: Table
    speed: dict[str, float] = field(default_factory=dict)
    extras: dict[str, Table] = field(default_factory=dict)

    def subset(self, keep: Iterable[str]) -> "DataDir":
        """The same directory with only the utterances in ``keep``."""
        kept = set(keep)

        def only(table: Mapping) -> dict:
            return {utt: value for utt, value in table.items() if utt in kept}

        extras = {name: only(table) for name, table in self.extras.items()}
        return DataDir(only(self.wav), only(self.text), only(self.utt2spk), only(self.speed), extras)


def read_data_dir(path: Path | str, *, check_audio: bool = True, allow_empty_text: bool = False) -> DataDir:
    """Read and check a data directory.

    Raises InputError that lists the problems: missing files, text that is not UTF-8, repeated keys, utterances
    without audio or transcript, empty transcripts, pipes, white space that ESPnet reads in another way. Speakers that
    hold a space or differ between utt2spk and spk2utt and speed factors out of range are problems too.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"{path}: no such data directory; expected one with wav.scp, text and utt2spk")
    cut = "not supported: cut the recordings into one file for each utterance, and list these in wav.scp"
    problems = [f"{name}: {cut}" for name in UNSUPPORTED if (path / name).exists()]
    wav, text, utt2spk = (read_table(path / name, problems, words=name == "text") for name in ("wav.scp", "text", "utt2spk"))
    problems += _key_problems({"wav.scp": wav, "text": text, "utt2spk": utt2spk})
    problems += [] if allow_empty_text else [f"text: empty transcript of {u!r}" for u in text if not text[u].strip()]
    problems += [f"utt2spk: no speaker for {u!r}" for u in utt2spk if not utt2spk[u]]
    spaced = {utt: spk for utt, spk in utt2spk.items() if len(spk.split()) > 1}
    problems += [
        f"utt2spk: the speaker {spk!r} of {utt!r} holds a space, write {'_'.join(spk.split())}"
        for utt, spk in spaced.items()
    ]
    problems += _wav_problems(wav, check_audio)
    if (path / "spk2utt").exists():
        problems += _speaker_problems(utt2spk, read_table(path / "spk2utt", problems))
    speed = _read_speed(path / "utt2speed", problems)
    extras = {
        file.name: read_table(file, problems)
        for file in sorted(path.glob("utt*"))
        if file.is_file() and file.stat().st_size and file.name not in OWN_TABLES
    }
    fix = "Expected one line for each utterance in each file. Mend the files and run again."
    raise_problems(problems, str(path), fix)
    return DataDir(wav, text, utt2spk, speed, extras).subset(wav)


def _key_problems(tables: Mapping[str, Table]) -> list[str]:
    utts = sorted(set().union(*tables.values()))
    filled = {name: table for name, table in tables.items() if table}  # read_table reports the empty ones
    problems = [f"{name}: nothing for {u!r}" for name, table in filled.items() for u in utts if u not in table]
    return problems + [f"utterance id {u!r} holds a slash" for u in utts if "/" in u]


def _wav_problems(wav: Table, check_audio: bool) -> list[str]:
    problems = []
    for utt, source in wav.items():
        if source.endswith("|"):
            problems.append(f"wav.scp: {utt!r} is a pipe, not a path ({source[:60]}): store what it writes in a file")
        elif not source:
            problems.append(f"wav.scp: no path for {utt!r}")
        elif check_audio and (reason := _unusable(source)):
            problems.append(f"wav.scp: audio of {utt!r} is missing ({source}: {reason})")
    return problems


def _unusable(source: str) -> str:
    """Why ``source`` is no file that can be read; empty for a file."""
    try:
        return "" if stat.S_ISREG(os.stat(source).st_mode) else "not a file"
    except OSError as error:
        return str(error.strerror)


def _speaker_problems(utt2spk: Table, spk2utt: Table) -> list[str]:
    pairs = {(utt, spk) for spk, utts in spk2utt.items() for utt in utts.split()}
    differing = sorted(pairs ^ set(utt2spk.items()))
    return [f"utt2spk and spk2utt disagree on {utt!r} of speaker {spk!r}" for utt, spk in differing]


def _read_speed(path: Path, problems: list[str]) -> dict[str, float]:
    factors = {}
    for utt, value in read_table(path, problems).items() if path.exists() else ():
        try:
            factors[utt] = float(value)
        except ValueError:
            factors[utt] = 0.0
        if not 0.1 <= factors[utt] <= 10:
            problems.append(f"utt2speed: {value!r} of {utt!r} is no factor between 0.1 and 10")
    return factors


def write_tables(path: Path, data: DataDir) -> None:
    """Write the tables of ``data`` into the existing directory ``path``."""
    speakers: dict[str, list[str]] = {}
    for utt in sorted(data.utt2spk):
        speakers.setdefault(data.utt2spk[utt], []).append(utt)
    write_table(path / "wav.scp", data.wav)
    write_table(path / "text", data.text)
    write_table(path / "utt2spk", data.utt2spk)
    write_table(path / "spk2utt", {spk: " ".join(utts) for spk, utts in speakers.items()})
    if data.speed:
        write_table(path / "utt2speed", data.speed)
    for name, table in data.extras.items():
        write_table(path / name, table)


def write_data_dir(path: Path | str, data: DataDir) -> None:
    """Write a data directory atomically: it replaces an old one when it is complete."""
    with replacing_dir(path) as temporary:
        write_tables(temporary, data)
