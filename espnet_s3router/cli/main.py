"""``s3router COMMAND …``: the parser of all commands."""

import argparse
import warnings
from collections.abc import Sequence

from espnet_s3router.cli import bake, compare, identify, methods, transcribe, understand
from espnet_s3router.cli.deployment import count, export, shrink
from espnet_s3router.cli.routes import bank, language, route
from espnet_s3router.cli.setup import completion, doctor, recipe
from espnet_s3router.cli.sharing import pack, upload
from espnet_s3router.errors import exit_status


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    whole = argparse.ArgumentParser(prog="s3router", description="Masked speech upstreams for ESPnet.")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    groups = (bake, bank, compare, count, doctor, export, identify, language, methods, pack, recipe, route, shrink)
    for group in (*groups, transcribe, understand, upload):
        group.add_to(commands)
    completion.add_to(commands, whole)
    return whole


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Run one command."""
    args = parser().parse_args(argv)
    with warnings.catch_warnings():
        # ESPnet's models call what torch has deprecated. That is nothing for who runs a command.
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"espnet2\.")
        args.run(args)


if __name__ == "__main__":
    raise SystemExit(main())
