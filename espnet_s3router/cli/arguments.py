"""Arguments that several commands share, and what their values mean."""

import argparse
import math
from typing import Any

FACTS = ("language", "corpus", "licence", "training_command")
"""Facts of a model that a command line may tell."""


def add_files(parser: argparse.ArgumentParser, run: str = "experiment") -> None:
    """Add the two files of a finished ``run``."""
    parser.add_argument("train_config", help=f"config.yaml of the {run}")
    parser.add_argument("model_file", help=f"model of the {run}, for example valid.cer_ctc.ave.pth")


def add_folder(parser: argparse.ArgumentParser, text: str, **options: Any) -> None:
    """Add the folder of a finished run, and the name of a model in it."""
    parser.add_argument("experiment", help=text, **options)
    parser.add_argument("--model_file", help="model in that folder; by default valid.cer_ctc.ave.pth, or the only average")


def add_task(parser: argparse.ArgumentParser) -> None:
    """Add the task of ESPnet."""
    parser.add_argument("--task", choices=("asr", "slu"), default="asr")


def add_json(parser: argparse.ArgumentParser, each: str = "") -> None:
    """Add ``--json``: one line, or one for ``each`` of something."""
    parser.add_argument("--json", action="store_true", help="print one line of JSON" + (f" for each {each}" if each else ""))


def add_facts(parser: argparse.ArgumentParser, place: str) -> None:
    """Add the facts of a model and its metrics; ``place`` says what becomes of them."""
    for fact in FACTS:
        parser.add_argument(f"--{fact}", help=f"{fact.replace('_', ' ')}, {place}")
    parser.add_argument("--metric", action="append", default=[], metavar="NAME=VALUE", help="for example test_cer=31.2")


def facts_of(args: argparse.Namespace) -> dict[str, Any]:
    """The facts that the command line tells. Raises InputError for a metric without name or number."""
    facts: dict[str, Any] = {fact: getattr(args, fact) for fact in FACTS if getattr(args, fact) is not None}
    return facts | ({"metrics": dict(map(metric_of, args.metric))} if args.metric else {})


def add_base(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a base."""
    parser.add_argument("--upstream", help="load this base, instead of the one that the file names")
    parser.add_argument("--path_or_url", help="load the base from here")


def source_of(args: argparse.Namespace) -> dict[str, str] | None:
    """The base that the command line names."""
    return {name: getattr(args, name) for name in ("upstream", "path_or_url") if getattr(args, name) is not None} or None


def metric_of(text: str) -> tuple[str, float]:
    """Name and value of NAME=VALUE. Raises InputError for another text."""
    from espnet_s3router.errors import InputError

    name, _, value = text.partition("=")
    try:
        number = float(value) if name else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"--metric is {text!r}, expected NAME=VALUE with a number, for example test_cer=31.2")
    return name, number


def audio_of(path: str) -> Any:
    """Samples at 16 kHz."""
    from espnet_s3router.bin.recordings import read_wave  # not above: the help of commands loads no other package

    return read_wave(path)
