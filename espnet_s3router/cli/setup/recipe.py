"""``s3router recipe …``: the recipes, for people who installed the package with pip."""

import argparse
import json
from typing import Any

from espnet_s3router.cli.arguments import add_json


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser("recipe", help="the recipes as a folder to work in")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    text = "write all recipes and their data preparation into a folder"
    init = actions.add_parser(
        "init", help=text, description=f"Recipes: {text}.", epilog="example: s3router recipe init my_recipes"
    )
    init.add_argument("folder", help="folder to write, which must not exist or be empty")
    add_json(init)
    init.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the recipes and say how to begin."""
    from espnet_s3router.cli.setup.recipe_files import NOTEBOOK, lay_out

    names = lay_out(args.folder)
    if args.json:
        print(json.dumps({"folder": args.folder, "recipes": names}))
        return
    print(f"{args.folder}: {', '.join(names)}")
    print(f"begin with {args.folder}/egs2/s3router/asterisk/asr1/run.sh; --help lists its options")
    print(f"or open {args.folder}/{NOTEBOOK} in Jupyter: from your own recordings to a transcript")
