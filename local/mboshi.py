"""Mboshi: read sentences of a Bantu language (Congo-Brazzaville), recorded in the field, with their transcripts.

Godard et al. 2018, "A Very Low Resource Language Speech Corpus for Computational Language Documentation Experiments"
(arXiv 1710.03501): three speakers, 4,616 training and 514 test utterances, 4.5 hours. The corpus has no licence file.
Its authors made it "available to the community for reproducible computational language documentation experiments".
It is cloned by the user, and nothing of it belongs to this project.

    full_corpus_newsplit/{train,dev}/ID.{wav,mb.cleaned}     ID begins with the speaker: abiayi, kouarata, martial

Training utterances are taken in the order of the md5 of their ID. The first 10 or 60 minutes are the training sets. The
validation set is the last 7 of the first 70 minutes. The test set is the corpus's own dev.

    python -m local.mboshi --mboshi DIR/mboshi-french-parallel-corpus --minutes 10 60
"""

import argparse
import hashlib
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import soundfile

from espnet_s3router.data.data_dir import DataDir, write_data_dir
from espnet_s3router.errors import InputError, exit_status, raise_problems, summary
from espnet_s3router.text_files import read_lines
from local.downloads import CHECK, CHECK_HELP

PAGE = "https://github.com/besacier/mboshi-french-parallel-corpus"
FOLDER = "full_corpus_newsplit"
SPEAKERS = ("abiayi", "kouarata", "martial")
PUBLISHED = {"train": 4616, "dev": 514}
POOL_SECONDS, VALID_SECONDS = 70 * 60, 7 * 60
AUDIO = (".wav", ".flac")
"""The corpus has wav files; a copy that was compressed without loss is the same speech."""
FIX = f"Clone {PAGE} again and pass its folder"


def find_folder(root: Path) -> Path:
    """The folder that holds train and dev, at or below ``root``. Raises InputError if it is not there."""
    for folder in (root, root / FOLDER):
        if all((folder / part).is_dir() for part in PUBLISHED):
            return folder
    raise InputError(f"{root}: holds no {FOLDER}/train and {FOLDER}/dev, expected the clone of {PAGE}. {FIX}")


def read_part(folder: Path) -> DataDir:
    """All utterances of train or dev, with composed letters (NFC) in lower case.

    The corpus spells some accented letters in one code point and some in two. Raises InputError that names recordings
    without transcript, transcripts without recording, two recordings of one utterance and unknown speakers.
    """
    wav: dict[str, str] = {}
    problems: list[str] = []
    for path in sorted(path for path in folder.iterdir() if path.suffix in AUDIO):
        if path.stem in wav:
            problems.append(f"two recordings of {path.stem}: {Path(wav[path.stem]).name} and {path.name}")
        wav[path.stem] = str(path)
    transcripts = {path.name.removesuffix(".mb.cleaned"): path for path in sorted(folder.glob("*.mb.cleaned"))}
    problems += [f"no transcript {utt}.mb.cleaned for its recording" for utt in sorted(wav.keys() - transcripts.keys())]
    problems += [f"no recording {utt}.wav for its transcript" for utt in sorted(transcripts.keys() - wav.keys())]
    text = {utt: spelling(read_lines(path)) for utt, path in transcripts.items()}
    problems += [f"{transcripts[utt].name} is empty" for utt in text if not text[utt]]
    speaker = {utt: utt.split("_")[0] for utt in wav}
    problems += [f"{utt} begins with no speaker of the corpus" for utt in wav if speaker[utt] not in SPEAKERS]
    problems += [] if wav else ["no recordings"]
    raise_problems(problems, str(folder), f"Expected ID.wav and ID.mb.cleaned for each utterance. {FIX}")
    if len(wav) != PUBLISHED[folder.name]:
        print(f"notice: {folder} has {len(wav)} utterances, published are {PUBLISHED[folder.name]}", file=sys.stderr)
    return DataDir(wav, text, speaker)


def spelling(lines: Iterable[str]) -> str:
    """The words of a transcript, with composed letters (NFC), in lower case, with single spaces."""
    return " ".join(unicodedata.normalize("NFC", " ".join(lines)).lower().split())


def split(seconds: Mapping[str, float], minutes: Sequence[int]) -> dict[str, list[str]]:
    """The utterances of ``train_<minutes>min`` and ``dev``, from the duration of each utterance of the corpus's train.

    Raises InputError if there is too little audio, and if training and validation would overlap.
    """
    order = sorted(seconds, key=lambda utt: hashlib.md5(utt.encode(), usedforsecurity=False).hexdigest())
    until = list(accumulate(seconds[utt] for utt in order))  # seconds up to the end of each utterance
    if not until or until[-1] < POOL_SECONDS:
        total = until[-1] / 60 if until else 0
        raise InputError(f"train has {total:.1f} minutes of audio, expected at least {POOL_SECONDS // 60}. {FIX}")
    check_minutes(minutes)
    pool = next(at for at, end in enumerate(until) if end >= POOL_SECONDS) + 1
    first = next(at for at in range(pool) if until[pool - 1] - until[at] <= VALID_SECONDS) + 1
    parts = {f"train_{m}min": [utt for utt, end in zip(order, until) if end <= 60 * m] for m in minutes}
    return parts | {"dev": order[first:pool]}


def check_minutes(minutes: Sequence[int]) -> None:
    """Raises InputError for training sets that would overlap with the validation set."""
    longest = int((POOL_SECONDS - VALID_SECONDS) / 60)
    if not minutes or not all(0 < number <= longest for number in minutes):
        raise InputError(f"--minutes is {' '.join(map(str, minutes))}, expected numbers from 1 to {longest}")


def durations(wav: Mapping[str, str], folder: Path) -> dict[str, float]:
    """Seconds of each utterance. Raises InputError that names the recordings without a readable header."""
    seconds, problems = dict[str, float](), []
    for utt, path in wav.items():
        try:
            seconds[utt] = soundfile.info(path).duration
        except soundfile.SoundFileError as error:
            problems.append(f"{path} cannot be read: {summary(error)}")
    raise_problems(problems, str(folder), f"Expected audio files. {FIX}")
    return seconds


def prepare(mboshi: Path, *, data_dir: Path, minutes: Sequence[int] = (10, 60)) -> dict[str, tuple[int, float]]:
    """Write ``data_dir/{train_<minutes>min,dev,test}_mboshi``. Returns the utterances and seconds of each dataset.

    Everything is read and checked before anything is written.
    """
    check_minutes(minutes)
    folder = find_folder(mboshi)
    train, test = read_part(folder / "train"), read_part(folder / "dev")
    seconds = durations(train.wav | test.wav, folder)
    parts = split({utt: seconds[utt] for utt in train.wav}, minutes)
    datasets = {name: train.subset(utts) for name, utts in parts.items()} | {"test": test}
    for name, data in datasets.items():
        write_data_dir(data_dir / f"{name}_mboshi", data)
    return {f"{name}_mboshi": (len(d.wav), sum(seconds[utt] for utt in d.wav)) for name, d in datasets.items()}


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Prepare the datasets."""
    parser = argparse.ArgumentParser(prog="python -m local.mboshi", description=__doc__.split("\n")[0])
    parser.add_argument("--mboshi", type=Path, required=True, help=f"clone of {PAGE}")
    parser.add_argument("--minutes", type=int, nargs="+", default=[10, 60], help="durations of the training sets")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument(CHECK, action="store_true", help=CHECK_HELP)
    args = parser.parse_args(argv)
    if args.check_corpus:
        print(f"train and dev are in {find_folder(args.mboshi)}")
        return
    for name, (utts, seconds) in prepare(args.mboshi, data_dir=args.data_dir, minutes=args.minutes).items():
        print(f"{args.data_dir / name}: {utts} utterances, {seconds / 60:.2f} min")


if __name__ == "__main__":
    raise SystemExit(main())
