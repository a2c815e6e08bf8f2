"""``s3router methods``: the table of methods and their options."""

import argparse
import dataclasses
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    commands.add_parser("methods", help="list the methods and the options of mask_conf").set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print every method with its source and its options with their defaults."""
    from espnet_s3router.methods import METHODS

    for name, method in METHODS.items():
        print(f"{name}  [{method.source}]")
        for option in dataclasses.fields(method.config):
            if option.default is not dataclasses.MISSING:
                default = repr(option.default)
            else:
                default = "required" if option.default_factory is dataclasses.MISSING else "{}"
            print(f"    {option.name}: {default}")
