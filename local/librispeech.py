"""LibriSpeech with Libri-Light's limited supervision: 10 minutes, 1 hour, 10 hours, 100 hours.

Panayotov et al. 2015 (openslr.org/12, CC-BY-4.0); Kahn et al. 2020, "Libri-Light" (the small
training sets, https://dl.fbaipublicfiles.com/librilight/data/librispeech_finetuning.tgz).

    LibriSpeech/<part>/<spk>/<chap>/{<spk>-<chap>-<utt>.flac,<spk>-<chap>.trans.txt}
    librispeech_finetuning/1h/{0..5}/{clean,other}/<spk>/<chap>/…   and   9h/{clean,other}/…

10min is one of the six 1h/N, 1h all six, 10h adds 9h, 100h is train-clean-100. Nobody fixed which of
the six: ``subset``, 0 by default, and the set's name says it when it is another.

    python -m local.librispeech --librispeech DIR/LibriSpeech --librilight DIR/librispeech_finetuning
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.data.data_dir import DataDir, write_data_dir
from espnet_s3router.data.tables import raise_problems, read_table
from espnet_s3router.errors import InputError, exit_status

LIBRISPEECH_PAGE = "https://www.openslr.org/12"
LIBRILIGHT_PAGE = "https://github.com/facebookresearch/libri-light (data_preparation: limited supervision)"
TRAIN_SPLITS = ("10min", "1h", "10h", "100h")
EVALUATION = ("dev-clean", "dev-other", "test-clean", "test-other")
# Utterances of each part as published; another number means an incomplete download.
PUBLISHED = {
    "train-clean-100": 28539,
    "dev-clean": 2703,
    "dev-other": 2864,
    "test-clean": 2620,
    "test-other": 2939,
}


def train_set_name(split: str, subset: int = 0) -> str:
    """``train_10min``, ``train_10min_subset3``, ``train_1h``, …"""
    return f"train_{split}" + (f"_subset{subset}" if split == "10min" and subset else "")


def train_folders(split: str, librispeech: Path | None, librilight: Path | None, subset: int) -> list[Path]:
    """The folders whose recordings make up a training split; raises InputError for a missing one."""
    if split not in TRAIN_SPLITS or subset not in range(6):
        raise InputError(f"got split {split!r}, subset {subset}; expected one of {TRAIN_SPLITS} and 0 to 5.")
    if split == "100h":
        return [_need(librispeech, "train-clean-100", LIBRISPEECH_PAGE, "--librispeech")]
    hours = [f"1h/{subset}"] if split == "10min" else [f"1h/{n}" for n in range(6)]
    hours += ["9h"] if split == "10h" else []
    parts = [f"{hour}/{kind}" for hour in hours for kind in ("clean", "other")]
    return [_need(librilight, part, LIBRILIGHT_PAGE, "--librilight") for part in parts]


def _need(root: Path | None, part: str, page: str, option: str) -> Path:
    if root is not None and (root / part).is_dir():
        return root / part
    got = "no folder was given" if root is None else f"there is no {root / part}"
    name = "LibriSpeech" if option == "--librispeech" else "librispeech_finetuning"
    raise InputError(f"{part}: {got}; expected the unpacked {name}. Get it from {page} and pass {option} .../{name}.")


def read_folders(folders: Sequence[Path]) -> DataDir:
    """Every utterance below ``folders``; the speaker is the reader (first part of the id).

    Raises InputError naming recordings without transcript, transcripts without recording and ids
    that occur twice.
    """
    problems: list[str] = []
    wav: dict[str, str] = {}
    text: dict[str, str] = {}
    for folder in folders:
        for listing in sorted(folder.rglob("*.trans.txt")):
            read = read_table(listing, problems)
            problems += [f"{listing}: {utt!r} occurs twice" for utt in sorted(read.keys() & text.keys())]
            problems += [f"{listing}: empty transcript of {utt!r}" for utt in read if not read[utt]]
            text.update(read)
        for path in sorted(folder.rglob("*.flac")):
            wav.setdefault(path.stem, str(path))
    problems += [f"no recording {utt}.flac for its transcript" for utt in sorted(text.keys() - wav.keys())]
    problems += [f"no transcript for {wav[utt]}" for utt in sorted(wav.keys() - text.keys())]
    problems += [] if wav else ["no .flac files"]
    where = ", ".join(str(folder) for folder in folders[:3]) + (", …" if len(folders) > 3 else "")
    raise_problems(problems, where, "The download is incomplete or altered: unpack the archive again.")
    return DataDir(wav, text, {utt: utt.split("-")[0] for utt in wav})


def prepare(
    *,
    librispeech: Path | None,
    librilight: Path | None,
    data_dir: Path,
    splits: Sequence[str] = TRAIN_SPLITS,
    subset: int = 0,
    evaluation: Sequence[str] = EVALUATION,
) -> dict[str, int]:
    """Write ``train_SPLIT`` for each of ``splits`` and the evaluation sets; return utterances of each.

    Everything is located before anything is written. ``subset``: which of the six 10 minute sets.
    """
    wanted = {train_set_name(s, subset): train_folders(s, librispeech, librilight, subset) for s in splits}
    for part in evaluation:
        wanted[part.replace("-", "_")] = [_need(librispeech, part, LIBRISPEECH_PAGE, "--librispeech")]
    sets = {name: read_folders(folders) for name, folders in wanted.items()}
    for name, data in sets.items():
        expected = PUBLISHED.get(wanted[name][0].name)
        if expected not in (None, len(data.wav)):
            print(f"notice: {name} has {len(data.wav)} utterances, published are {expected}", file=sys.stderr)
        write_data_dir(data_dir / name, data)
    return {name: len(data.wav) for name, data in sets.items()}


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Prepare the sets asked for."""
    parser = argparse.ArgumentParser(prog="python -m local.librispeech", description=__doc__.split("\n")[0])
    parser.add_argument("--librispeech", type=Path, help="the folder LibriSpeech")
    parser.add_argument("--librilight", type=Path, help="the folder librispeech_finetuning")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--split", nargs="+", choices=TRAIN_SPLITS, default=["10min"])
    parser.add_argument("--subset", type=int, choices=range(6), default=0, help="which 10 minute set")
    parser.add_argument("--evaluation", nargs="*", choices=EVALUATION, default=list(EVALUATION))
    args = parser.parse_args(argv)
    counts = prepare(
        librispeech=args.librispeech,
        librilight=args.librilight,
        data_dir=args.data_dir,
        splits=args.split,
        subset=args.subset,
        evaluation=args.evaluation,
    )
    for name, utts in counts.items():
        print(f"{args.data_dir / name}: {utts} utterances")


if __name__ == "__main__":
    raise SystemExit(main())
