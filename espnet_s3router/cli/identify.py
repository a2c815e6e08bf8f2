"""``s3router identify``: how often ``--lang auto`` finds the language, on datasets whose language is known."""

import argparse
import json
from typing import Any

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
    parser.add_argument("--bank", required=True, metavar="DIR", help="folder of .route files, one for each language")
    parser.add_argument("--same", default="", metavar="LANG,LANG", help="also count these as one: one voice reads them")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--upstream", help="load this base, instead of the one that the routes name")
    parser.add_argument("--path_or_url", help="load the base from here")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Identify all recordings and print tables."""
    from espnet_s3router.cli.quiet import quiet_imports
    from espnet_s3router.cli.route import source_of
    from espnet_s3router.errors import InputError

    with quiet_imports():
        from espnet_s3router.serving import Router
        from espnet_s3router.serving.evaluate import accuracy, by_duration, confusion, judge
    for text in args.datasets:
        if "=" not in text:
            raise InputError(f"a dataset is {text!r}, expected LANG=DIR, for example nl=dump/raw/test_nl")
    judged = judge(Router.from_dir(args.bank, source_of(args)), dict(text.split("=", 1) for text in args.datasets))
    figures = {
        "recordings": len(judged),
        "accuracy": accuracy(judged),
        f"accuracy_from_{SHORTEST:g}_s": accuracy(judged, shortest=SHORTEST),
    }
    if args.same:
        same = args.same.split(",")
        figures[f"accuracy_from_{SHORTEST:g}_s_{'_'.join(same)}_as_one"] = accuracy(judged, shortest=SHORTEST, same=same)
    if args.json:
        tables = {"confusion": confusion(judged, SHORTEST), "by_duration": by_duration(judged)}
        print(json.dumps(figures | tables | {"judged": [vars(one) for one in judged]}))
        return
    for table in (confusion(judged, SHORTEST), by_duration(judged)):
        for row in table:
            print("".join(f"{cell:>16}" for cell in row))
        print()
    print("\n".join(f"{name}: {value:.4g}" for name, value in figures.items()))
