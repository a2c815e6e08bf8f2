"""Which clips a dataset holds: those of a list, or the first minutes of a table in hash order. No speaker is in two."""

import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_s3router.errors import InputError, raise_problems
from espnet_s3router.text_files import read_lines
from local.commonvoice.choices import Choices
from local.commonvoice.durations import DURATIONS, Durations
from local.commonvoice.release import audio_path, table_path
from local.commonvoice.tables import Clips, clip_name, read_clips
from local.commonvoice.text import characters
from local.hash_order import first_minutes

SPLITS = ("train", "dev", "test")
FURTHER_TABLES = ("validated", "other", "invalidated")
NUMBER = re.compile(r"\d+")


def choose(folder: Path, choices: Choices, seconds: Durations) -> dict[str, Clips]:
    """The clips of train, dev and test. Raises InputError as ``prepare`` does.

    The test set is chosen first and stays whole: with ``shared_speakers: drop``, its speakers leave the other sets.
    """
    chosen: dict[str, Clips] = {}
    for split in reversed(SPLITS):
        clips = candidates(folder, split, choices)
        if choices.shared_speakers == "drop":
            clips = without_speakers_of(chosen, clips, choices.name(split))
        if choices.minutes_of(split):
            chosen[split] = draw(folder, split, clips, choices, seconds)
        else:
            chosen[split] = with_audio(folder, clips, choices)
    ordered = {split: chosen[split] for split in SPLITS}
    refuse_shared_speakers(ordered)
    return ordered


def candidates(folder: Path, split: str, choices: Choices) -> Clips:
    """The clips that a dataset may hold: those of its list, or of its table, which have something to recognise."""
    problems: list[str] = []
    if split in choices.lists:
        where = choices.lists[split]
        clips = listed_clips(folder, split, read_list(where, choices.lang, problems), problems)
    else:
        where = table_path(folder, split)
        clips = read_clips(where, problems)
    silent = [name for name, clip in clips.items() if not characters(clip.sentence, choices.lang)]
    problems += [f"{clips[name].place}: nothing to read in {clips[name].sentence!r} ({name})" for name in silent]
    choices.handle(problems, str(where), "Restore the file, or correct it.")
    left_out = set(silent)
    return {name: clip for name, clip in clips.items() if name not in left_out}


def draw(folder: Path, split: str, clips: Clips, choices: Choices, seconds: Durations) -> Clips:
    """The first minutes of the clips in the order of the md5 of ``LANG/CLIP``, such as ``es/common_voice_es_1``.

    Prints a notice if there are fewer minutes than requested, and if durations had to be measured.
    """
    minutes, name = choices.minutes_of(split), choices.name(split)
    drawn = {key: clips[key] for key in first_minutes(choices.lang, clips, minutes, seconds)}
    bad = [seconds.problems[key] for key in clips if key in seconds.problems]
    choices.handle(bad, str(folder), "Unpack the archive of the language again: it holds all clips of its tables.")
    total = seconds.total(drawn) / 60
    if split == "train" and len(drawn) + len(bad) == len(clips) and total < minutes:
        print(f"notice: {name} has {total:.1f} of {minutes:g} minutes: {split}.tsv holds no more", file=sys.stderr)
    if measured := sum(key in seconds.measured for key in drawn):
        print(f"notice: {name}: {measured} durations were measured: {DURATIONS} does not hold them", file=sys.stderr)
    return drawn


def with_audio(folder: Path, clips: Clips, choices: Choices) -> Clips:
    """The clips whose audio file is there; the others are problems."""
    missing = {name: f"{clips[name].place}: no {path}" for name in clips if not (path := audio_path(folder, name)).is_file()}
    fix = "Unpack the archive of the language again: it holds all clips of its tables."
    choices.handle(list(missing.values()), str(folder), fix)
    return {name: clip for name, clip in clips.items() if name not in missing}


def read_list(path: Path, lang: str, problems: list[str]) -> list[str]:
    """The clips that a file names, one on each line, with or without ``.mp3``; a number is ``common_voice_LANG_NUMBER``.

    The lists of CPC_audio's common_voices_splits have this form. What follows the name on its line is ignored.
    """
    names = [clip_name(line.split()[0]) for line in read_lines(path, expected="names of clips") if line.strip()]
    names = [f"common_voice_{lang}_{name}" if NUMBER.fullmatch(name) else name for name in names]
    problems += [
        f"{path.name}: {name} occurs twice" for name in sorted(n for n, count in Counter(names).items() if count > 1)
    ]
    if not names:
        raise InputError(f"{path}: names no clip. Expected a name such as common_voice_{lang}_123 on each line")
    return list(dict.fromkeys(names))


def listed_clips(folder: Path, split: str, names: Sequence[str], problems: list[str]) -> Clips:
    """The clips of a list, looked up in the table of its split, then in all others. Unknown names are problems."""
    found: Clips = {}
    faults: list[str] = []
    for table in dict.fromkeys((split, *SPLITS, *FURTHER_TABLES)):
        left = set(names) - found.keys()
        if left and (folder / f"{table}.tsv").is_file():
            clips = read_clips(table_path(folder, table), faults)
            found |= {name: clips[name] for name in left & clips.keys()}
    missing = [name for name in names if name not in found]
    problems += [f"{split}: no table of {folder} has {name}" for name in missing]
    problems += [fault for fault in dict.fromkeys(faults) if any(f"({name})" in fault for name in missing)]
    return {name: found[name] for name in names if name in found}


def without_speakers_of(others: Mapping[str, Clips], clips: Clips, dataset: str) -> Clips:
    """The clips of a dataset whose speakers read none of the ``others``. A notice counts those that are left out.

    Raises InputError if none is left.
    """
    speakers = {clip.speaker for other in others.values() for clip in other.values()}
    kept = {name: clip for name, clip in clips.items() if clip.speaker not in speakers}
    left_out = f"{len(clips) - len(kept)} of {len(clips)} clips have a speaker of {' or '.join(others)}"
    if clips and not kept:
        raise InputError(f"{dataset}: {left_out}, so none is left. Give lists with other speakers, or other tables")
    if len(kept) < len(clips):
        print(f"notice: {dataset}: {left_out} and are left out", file=sys.stderr)
    return kept


def refuse_shared_speakers(datasets: Mapping[str, Clips]) -> None:
    """Raises InputError that names speakers who read clips of two datasets."""
    problems = []
    names = list(datasets)
    for first, second in ((a, b) for i, a in enumerate(names) for b in names[i + 1 :]):
        by_speaker = {clip.speaker: name for name, clip in datasets[second].items()}
        shared = {clip.speaker: name for name, clip in datasets[first].items() if clip.speaker in by_speaker}
        problems += [
            f"speaker {speaker[:16]} reads {name} of {first} and {by_speaker[speaker]} of {second}"
            for speaker, name in sorted(shared.items())
        ]
    fix = (
        "Expected speakers in one dataset only. Pass --shared_speakers drop: training clips of speakers of dev and test are "
        "then left out, and dev clips of speakers of test"
    )
    raise_problems(problems, "/".join(names), fix)
