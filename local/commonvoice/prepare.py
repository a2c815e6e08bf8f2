"""The datasets of one language: ``train_60min_LANG``, ``dev_LANG`` and ``test_LANG``, with ``_phn`` behind for phones.

Each data directory also holds ``clips.txt``, the names of its clips, which can be given as a list to make the same dataset
again, and ``corpus.txt``, which says where they come from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from espnet_s3router.data.data_dir import DataDir, write_data_dir
from espnet_s3router.errors import InputError
from local.commonvoice.choices import Choices
from local.commonvoice.durations import Durations
from local.commonvoice.labels import read_labels
from local.commonvoice.release import audio_path, language_folder, release_name, table_path
from local.commonvoice.selection import SPLITS, choose, read_list
from local.commonvoice.tables import Clips
from local.commonvoice.text import characters
from local.phones import description, phones


@dataclass(frozen=True)
class Dataset:
    """The clips of a dataset with their texts, and where they come from."""

    clips: Clips
    texts: Mapping[str, str]
    record: Mapping[str, object]


def prepare(root: Path, data_dir: Path, choices: Choices) -> dict[str, Dataset]:
    """Write the three datasets of a language below ``data_dir``; nothing is written if one of them cannot be made.

    ``root``: the unpacked release. Returns name -> dataset. Raises InputError for files that are missing, damaged or not as
    the release has them, and for speakers of two datasets.
    """
    folder = language_folder(root, choices.lang)
    release = choices.release or release_name(root)
    seconds = Durations(folder)
    labels = read_labels(choices.phone_labels) if choices.phone_labels else None
    units = units_of(choices)
    made = {}
    for split, clips in choose(folder, choices, seconds).items():
        texts = texts_of(clips, choices, labels)
        kept = {name: clip for name, clip in clips.items() if name in texts}
        if not kept:
            expected = f"clips with audio and text in {folder}, and more minutes than the first clip has"
            raise InputError(f"{choices.name(split)}: no clip is left. Expected {expected}")
        made[choices.name(split)] = Dataset(kept, texts, record_of(split, kept, release, units, choices, seconds))
    for name, dataset in made.items():
        write_data_dir(data_dir / name, as_data_dir(folder, dataset))
    return made


def look(root: Path, choices: Choices) -> str:
    """What is there of a language. Raises InputError if its folder, a table, a list or what makes its phones is missing."""
    folder = language_folder(root, choices.lang)
    tables = [table_path(folder, split).name for split in SPLITS if split not in choices.lists]
    lists = [str(path) for path in choices.lists.values() if read_list(path, choices.lang, [])]
    if choices.phone_labels:
        read_labels(choices.phone_labels)
    release = choices.release or release_name(root)
    return f"{release} with {', '.join([*tables, *lists])} is in {folder}; {units_of(choices)}"


def units_of(choices: Choices) -> str:
    """The units and what makes them, for the record. Raises InputError if nothing on this machine makes the phones."""
    if choices.units == "characters" or choices.phone_labels:
        return choices.units + (f" of {choices.phone_labels.name}" if choices.phone_labels else "")
    return f"{choices.units} ({description(choices.lang)})"


def texts_of(clips: Clips, choices: Choices, labels: Mapping[str, str] | None) -> dict[str, str]:
    """Clip -> what is to be recognised. Clips without phones are problems."""
    if choices.units == "characters":
        return {name: characters(clip.sentence, choices.lang) for name, clip in clips.items()}
    if labels is not None:
        texts = {name: labels.get(name, "") for name in clips}
    else:
        texts = dict(zip(clips, phones([clip.sentence for clip in clips.values()], choices.lang), strict=True))
    problems = [f"{clips[name].place}: no phones for {name} ({clips[name].sentence!r})" for name in texts if not texts[name]]
    where = str(choices.phone_labels or f"phones of {choices.lang}")
    choices.handle(problems, where, "Give labels for these clips (--phone_labels), or choose others.")
    return {name: text for name, text in texts.items() if text}


def record_of(split: str, clips: Clips, release: str, units: str, choices: Choices, seconds: Durations) -> dict[str, object]:
    """The content of ``corpus.txt``."""
    drawn = choices.minutes_of(split)
    table = f"{split}.tsv" + (f", the first {drawn:g} minutes in the order of md5 of LANG/CLIP" if drawn else "")
    record: dict[str, object] = {
        "release": release,
        "language": choices.lang,
        "selection": choices.lists[split].name if split in choices.lists else table,
        "units": units,
        "clips": len(clips),
        "speakers": len({clip.speaker for clip in clips.values()}),
    }
    return record | ({"seconds": f"{seconds.total(clips):.1f}"} if drawn else {})


def as_data_dir(folder: Path, dataset: Dataset) -> DataDir:
    """The data directory of a dataset: utterances are named as their clips."""
    wav = {name: str(audio_path(folder, name)) for name in dataset.clips}
    speakers = {name: clip.speaker for name, clip in dataset.clips.items()}
    record = {key: str(value) for key, value in dataset.record.items()}
    return DataDir(wav, dict(dataset.texts), speakers, {}, {"clips.txt": dict.fromkeys(wav, ""), "corpus.txt": record})
