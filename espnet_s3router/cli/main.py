"""``s3router COMMAND …``: the parser of all commands."""

import argparse
from collections.abc import Sequence

from espnet_s3router.cli import bake, identify, language, methods, pack, route, transcribe, upload
from espnet_s3router.errors import exit_status


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="s3router", description="Masked speech upstreams for ESPnet.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (bake, identify, language, methods, pack, route, transcribe, upload):
        group.add_to(commands)
    args = parser.parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    raise SystemExit(main())
