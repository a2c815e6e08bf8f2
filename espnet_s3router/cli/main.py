"""``s3router COMMAND …``, a file per group of commands."""

import argparse
import sys
from collections.abc import Sequence

from espnet_s3router.cli import bake, methods
from espnet_s3router.errors import InputError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 2 for an error of input."""
    parser = argparse.ArgumentParser(prog="s3router", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (bake, methods):
        group.add_to(commands)
    args = parser.parse_args(argv)
    try:
        args.run(args)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
