"""LibriSpeech with the small training sets of Libri-Light: 10 minutes, 1 hour, 10 hours, 100 hours.

LibriSpeech: Panayotov et al. 2015 (openslr.org/12, CC-BY-4.0). The small training sets: Kahn et al. 2020, "Libri-Light"
(https://dl.fbaipublicfiles.com/librilight/data/librispeech_finetuning.tgz).

    LibriSpeech/<part>/<spk>/<chap>/{<spk>-<chap>-<utt>.flac,<spk>-<chap>.trans.txt}
    librispeech_finetuning/1h/{0..5}/{clean,other}/<spk>/<chap>/…   and   9h/{clean,other}/…

10min is one of the six folders 1h/N, 1h is all six, 10h adds 9h, 100h is train-clean-100. No source says which of the
six folders is meant. ``subset`` chooses it (0 by default), and the name of the dataset tells every other choice.

    python -m local.librispeech --librispeech DIR/LibriSpeech --librilight DIR/librispeech_finetuning
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.data.data_dir import DataDir, write_data_dir
from espnet_s3router.errors import InputError, exit_status, raise_problems
from espnet_s3router.text_files import read_table
from local.downloads import CHECK, CHECK_HELP

LIBRISPEECH_PAGE = "https://www.openslr.org/12"
LIBRILIGHT_PAGE = "https://github.com/facebookresearch/libri-light (data_preparation: limited supervision)"
TRAIN_SPLITS = ("10min", "1h", "10h", "100h")
EVALUATION = ("dev-clean", "dev-other", "test-clean", "test-other")
# Published number of utterances in each part; another number means an incomplete download.
PUBLISHED = {
    "train-clean-100": 28539,
    "dev-clean": 2703,
    "dev-other": 2864,
    "test-clean": 2620,
    "test-other": 2939,
}


def train_set_name(split: str, subset: int = 0) -> str:
    """Name of a training set: ``train_10min``, ``train_10min_subset3``, ``train_1h``, …"""
    return f"train_{split}" + (f"_subset{subset}" if split == "10min" and subset else "")


def train_folders(split: str, librispeech: Path | None, librilight: Path | None, subset: int) -> list[Path]:
    """The folders with the recordings of a training split. Raises InputError for a missing folder."""
    if split not in TRAIN_SPLITS or subset not in range(6):
        raise InputError(f"got split {split!r}, subset {subset}; expected one of {TRAIN_SPLITS} and 0 to 5.")
    if split == "100h":
        return [_existing(librispeech, "train-clean-100", LIBRISPEECH_PAGE, "--librispeech")]
    hours = [f"1h/{subset}"] if split == "10min" else [f"1h/{n}" for n in range(6)]
    hours += ["9h"] if split == "10h" else []
    parts = [f"{hour}/{kind}" for hour in hours for kind in ("clean", "other")]
    return [_existing(librilight, part, LIBRILIGHT_PAGE, "--librilight") for part in parts]


def _existing(root: Path | None, part: str, page: str, option: str) -> Path:
    if root is not None and (root / part).is_dir():
        return root / part
    got = "no folder was given" if root is None else f"there is no {root / part}"
    name = "LibriSpeech" if option == "--librispeech" else "librispeech_finetuning"
    raise InputError(f"{part}: {got}; expected the unpacked {name}. Get it from {page} and pass {option} .../{name}.")


def read_folders(folders: Sequence[Path]) -> DataDir:
    """All utterances below ``folders``; the speaker is the reader, which is the first part of the id.

    Raises InputError that names recordings without transcript, transcripts without recording and repeated ids.
    """
    problems: list[str] = []
    wav: dict[str, str] = {}
    text: dict[str, str] = {}
    for folder in folders:
        for listing in sorted(folder.rglob("*.trans.txt")):
            chapter = read_table(listing, problems)
            problems += [f"{listing}: {utt!r} occurs twice" for utt in sorted(chapter.keys() & text.keys())]
            problems += [f"{listing}: empty transcript of {utt!r}" for utt in chapter if not chapter[utt]]
            text.update(chapter)
        for path in sorted(folder.rglob("*.flac")):
            wav.setdefault(path.stem, str(path))
    problems += [f"no recording {utt}.flac for its transcript" for utt in sorted(text.keys() - wav.keys())]
    problems += [f"no transcript for {wav[utt]}" for utt in sorted(wav.keys() - text.keys())]
    problems += [] if wav else ["no .flac files"]
    where = ", ".join(str(folder) for folder in folders[:3]) + (", …" if len(folders) > 3 else "")
    raise_problems(problems, where, "The download is incomplete or altered: unpack the archive again.")
    return DataDir(wav, text, {utt: utt.split("-")[0] for utt in wav})


def locate(
    librispeech: Path | None, librilight: Path | None, splits: Sequence[str], subset: int, evaluation: Sequence[str]
) -> dict[str, list[Path]]:
    """Dataset -> the folders with its recordings. Raises InputError for a missing folder."""
    folders = {train_set_name(s, subset): train_folders(s, librispeech, librilight, subset) for s in splits}
    for part in evaluation:
        folders[part.replace("-", "_")] = [_existing(librispeech, part, LIBRISPEECH_PAGE, "--librispeech")]
    return folders


def prepare(
    *,
    librispeech: Path | None,
    librilight: Path | None,
    data_dir: Path,
    splits: Sequence[str] = TRAIN_SPLITS,
    subset: int = 0,
    evaluation: Sequence[str] = EVALUATION,
) -> dict[str, int]:
    """Write ``train_SPLIT`` for each of ``splits`` and the evaluation sets. Returns the utterances of each dataset.

    All parts are located before anything is written. ``subset`` chooses one of the six 10 minute sets.
    """
    folders = locate(librispeech, librilight, splits, subset, evaluation)
    datasets = {name: read_folders(parts) for name, parts in folders.items()}
    for name, data in datasets.items():
        published = PUBLISHED.get(folders[name][0].name)
        if published not in (None, len(data.wav)):
            print(f"notice: {name} has {len(data.wav)} utterances, published are {published}", file=sys.stderr)
        write_data_dir(data_dir / name, data)
    return {name: len(data.wav) for name, data in datasets.items()}


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Prepare the requested datasets."""
    parser = argparse.ArgumentParser(prog="python -m local.librispeech", description=__doc__.split("\n")[0])
    parser.add_argument("--librispeech", type=Path, help="the folder LibriSpeech")
    parser.add_argument("--librilight", type=Path, help="the folder librispeech_finetuning")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--split", dest="splits", nargs="+", choices=TRAIN_SPLITS, default=["10min"])
    parser.add_argument("--subset", type=int, choices=range(6), default=0, help="number of the 10 minute set")
    parser.add_argument("--evaluation", nargs="*", choices=EVALUATION, default=list(EVALUATION))
    parser.add_argument(CHECK, action="store_true", help=CHECK_HELP)
    args = parser.parse_args(argv)
    options = vars(args)
    if options.pop("check_corpus"):
        del options["data_dir"]
        for name, folders in locate(**options).items():
            print(f"{name}: {', '.join(map(str, folders))}")
        return
    for name, utts in prepare(**options).items():
        print(f"{args.data_dir / name}: {utts} utterances")


if __name__ == "__main__":
    raise SystemExit(main())
