"""``s3router methods``: the table of methods and their options."""

import argparse
import ast
import dataclasses
import inspect
import json
import textwrap
from typing import Any

from espnet_s3router.cli.arguments import add_json


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    text = "list the methods and the options of mask_conf"
    parser: argparse.ArgumentParser = commands.add_parser("methods", help=text, epilog="example: s3router methods | less")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print every method with its source, and its options with their defaults and meanings."""
    from espnet_s3router.methods import METHODS

    if args.json:
        about = {name: {"source": row.source, "options": options_of(row.config)} for name, row in METHODS.items()}
        print(json.dumps(about))
        return
    for name, method in METHODS.items():
        print(f"{name}  [{method.source}]")
        for option, (default, meaning) in options_of(method.config).items():
            print(f"    {option}: {default}")
            if meaning:
                print(textwrap.fill(meaning, 120, initial_indent=" " * 8, subsequent_indent=" " * 8))


def options_of(config: Any) -> dict[str, tuple[str, str]]:
    """Option -> (its default as text, its meaning)."""
    explained, options = meanings(config), {}
    for option in dataclasses.fields(config):
        if option.default is not dataclasses.MISSING:
            default = repr(option.default)
        else:
            default = "required" if option.default_factory is dataclasses.MISSING else "{}"
        options[option.name] = (default, explained.get(option.name, ""))
    return options


def meanings(config: type) -> dict[str, str]:
    """The docstrings below the fields of a dataclass and of its bases, by name of the field."""
    docstrings: dict[str, str] = {}
    for base in reversed([base for base in config.__mro__ if dataclasses.is_dataclass(base)]):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        lines = body.body if isinstance(body, ast.ClassDef) else []
        for line, following in zip(lines, lines[1:]):
            text = following.value if isinstance(following, ast.Expr) else None
            if isinstance(line, ast.AnnAssign) and isinstance(text, ast.Constant):
                docstrings[line.target.id] = inspect.cleandoc(text.value)  # type: ignore[union-attr, arg-type]
    return docstrings
