"""A folder of recordings with their texts as data directories: what somebody has who recorded a language.

Each recording has its text in a file beside it, with the same name and the suffix ``.txt``. A folder is a speaker.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from espnet_s3router.data.data_dir import DataDir, write_data_dir
from espnet_s3router.errors import InputError, raise_problems

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".webm")
TRAIN, DEV, TEST = "train", "dev", "test"


def collect(folder: Path | str, dst: Path | str, *, dev: float = 0.1, test: float = 0.1) -> dict[str, int]:
    """Write ``dst``/{train,dev,test} from the recordings below ``folder``; returns the number of utterances of each.

    ``dev`` and ``test`` are shares of the utterances. Which ones follows from their names, so new recordings move none.
    Utterances with the same text stay together. Raises InputError that lists recordings without text, texts that are empty
    or not UTF-8, and names that occur twice.
    """
    folder = Path(folder)
    if dev <= 0 or test <= 0 or dev + test >= 0.9:
        raise InputError(
            f"the shares are {dev:g} for dev and {test:g} for test, expected both above 0, and most for training"
        )
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder, expected one with recordings and a .txt file beside each")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise InputError(f"{folder}: holds no recording, expected files that end in {', '.join(SUFFIXES)}")
    problems: list[str] = []
    data = _read(folder, paths, problems)
    raise_problems(problems, str(folder), "Expected a file of UTF-8 text beside each recording, such as a1.txt for a1.wav")
    parts = {name: [utt for utt in data.wav if _part(data.text[utt], dev, test) == name] for name in (TRAIN, DEV, TEST)}
    if empty := [name for name, utts in parts.items() if not utts]:
        raise InputError(f"{folder}: {len(paths)} recordings leave none for {empty[0]}. Record more, or raise its share")
    for name, utts in parts.items():
        write_data_dir(Path(dst, name), data.subset(utts))
    return {name: len(utts) for name, utts in parts.items()}


def _read(folder: Path, paths: Iterable[Path], problems: list[str]) -> DataDir:
    data = DataDir({}, {}, {})
    for path in paths:
        speaker = "_".join(path.parent.relative_to(folder).as_posix().strip(".").replace("/", " ").split()) or "speaker"
        utt = f"{speaker}-{'_'.join(path.stem.split())}"
        if utt in data.wav:
            problems.append(f"{path.name}: has the name of {Path(data.wav[utt]).name}")
            continue
        if not path.with_suffix(".txt").is_file():
            problems.append(f"{path.relative_to(folder)}: has no {path.stem}.txt")
            continue
        try:
            text = " ".join(path.with_suffix(".txt").read_text(encoding="utf-8-sig").split())
        except UnicodeDecodeError:
            problems.append(f"{path.stem}.txt: is not UTF-8")
            continue
        if not text:
            problems.append(f"{path.stem}.txt: is empty")
        data.wav[utt], data.text[utt], data.utt2spk[utt] = str(path.resolve()), text, speaker
    return data


def _part(text: str, dev: float, test: float) -> str:
    """The dataset of a text: its digest as a number in [0, 1)."""
    place = int(hashlib.md5(text.encode()).hexdigest()[:12], 16) / 16**12
    return TEST if place < test else DEV if place < test + dev else TRAIN
