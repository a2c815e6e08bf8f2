"""``s3router bank``: which routes a folder holds."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from espnet_s3router.cli.arguments import add_json

COLUMNS = ("name", "language", "task", "method", "removed", "bytes", "licence", "base")


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "bank",
        help="which routes a folder holds",
        description="Lists the routes of a folder, one line each. The base is not loaded. Broken files are errors.",
        epilog="example: s3router bank routes",
    )
    parser.add_argument("folder", help="folder of .route files, as --bank of other commands takes it")
    add_json(parser, "file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print the routes; InputError at the end if some files cannot be served."""
    from espnet_s3router.errors import raise_problems
    from espnet_s3router.routes import inventory
    from espnet_s3router.text_format import aligned

    rows = inventory(args.folder)
    whole = [row for row in rows if not row["problem"]]
    if args.json:
        print("\n".join(map(json.dumps, rows)))
    elif whole:
        print(aligned([COLUMNS, *map(cells, whole)]))
    problems = [row["problem"] for row in rows if row["problem"]]
    hint = f"Others can be served: {len(whole)}. Write these again, or move them out of the folder"
    raise_problems(problems, f"{args.folder}: {len(rows)} route files", hint)


def cells(row: Mapping[str, Any]) -> list[str]:
    """One line of the table; details are those of ``s3router route info``."""
    values = {**row, "removed": f"{row['sparsity']:.2%}", "base": row["base"][:16]}
    return ["-" if values[column] is None else str(values[column]) for column in COLUMNS]
