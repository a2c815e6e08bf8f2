"""``s3router identify``: how often ``--lang auto`` finds the language, on datasets whose language is known."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from espnet_s3router.cli.arguments import add_json
from espnet_s3router.cli.models import add_models, name_left_out, open_models
from espnet_s3router.cli.quiet import quiet_imports
from espnet_s3router.errors import InputError

SHORTEST = 2.0  # seconds; shorter recordings hold a word or two


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "identify",
        help="how often --lang auto finds the language",
        description="Identifies every recording of datasets whose language is known, and prints the share found.",
        epilog="example: s3router identify --bank exp/routes en=dump/raw/test_en nl=dump/raw/test_nl",
    )
    parser.add_argument("datasets", nargs="+", metavar="LANG=DIR", help="a route and a Kaldi-style data directory")
    add_models(parser)
    parser.add_argument("--same", default="", metavar="LANG,LANG", help="also count these as one: one voice reads them")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Identify all recordings and print tables."""
    datasets = datasets_of(args.datasets)
    models = open_models(args)
    with quiet_imports():
        from espnet_s3router.serving import Router
        from espnet_s3router.serving.evaluate import accuracy, by_duration, confusion, judge
    same = [name for name in args.same.split(",") if name]
    for name in same:
        models.config(name)
    router = Router(models)
    name_left_out(router)
    judged = judge(router, datasets)
    figures = {"recordings": len(judged), "accuracy": accuracy(judged)}
    if any(one.seconds >= SHORTEST for one in judged):
        name = f"accuracy_from_{SHORTEST:g}_s"
        figures[name] = accuracy(judged, shortest=SHORTEST)
        if same:
            figures[f"{name}_{'_'.join(same)}_as_one"] = accuracy(judged, shortest=SHORTEST, same=same)
    else:
        print(f"notice: no recording has {SHORTEST:g} seconds or more, so there is no figure for these", file=sys.stderr)
    if args.json:
        tables = {"confusion": confusion(judged, SHORTEST), "by_duration": by_duration(judged)}
        print(json.dumps(figures | tables | {"judged": [vars(one) for one in judged]}))
        return
    for table in (confusion(judged, SHORTEST), by_duration(judged)):
        for row in table:
            print("".join(f"{cell:>16}" for cell in row))
        print()
    print("\n".join(f"{name}: {value:.4g}" for name, value in figures.items()))


def datasets_of(words: Sequence[str]) -> dict[str, str]:
    """Language -> directory, from ``LANG=DIR``. Raises InputError for other words and for a language that is named twice."""
    datasets: dict[str, str] = {}
    for word in words:
        lang, sign, folder = word.partition("=")
        if not sign:
            raise InputError(f"a dataset is {word!r}, expected LANG=DIR, for example nl=dump/raw/test_nl")
        if lang in datasets:
            both = f"{datasets[lang]} and {folder}"
            raise InputError(f"{lang} has two datasets, {both}, expected one. Pool them, or call the command twice")
        datasets[lang] = folder
    return datasets
