"""The options of commands that use a folder of routes or a pack, and the models that they open."""

import argparse
import sys
from typing import Any

from espnet_s3router.cli.arguments import add_base, source_of
from espnet_s3router.cli.quiet import quiet_imports
from espnet_s3router.errors import InputError


def add_models(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the options of ``open_models`` to a parser. ``required``: one of ``--bank`` and ``--model`` must be given."""
    models = parser.add_mutually_exclusive_group(required=required)
    models.add_argument("--bank", metavar="DIR", help="folder of .route files, one for each language")
    models.add_argument("--model", metavar="PACK", help="pack: a folder, a zip file, or OWNER/NAME[@REVISION] of the hub")
    add_base(parser)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")


def open_models(args: argparse.Namespace) -> Any:
    """The models of the options. Route files that cannot be used are named on stderr."""
    source = source_of(args)
    if args.model and source:
        raise InputError(f"--model is {args.model} with --{min(source)}, expected --bank with it: a pack names its own base")
    with quiet_imports():
        if args.model:
            from espnet_s3router.zoo.opened import open_pack

            return open_pack(args.model, device=args.device)
        from espnet_s3router.serving import Bank

        bank = Bank.from_dir(args.bank, source, device=args.device)
    for reason in bank.broken.values():
        print(f"left out: {reason}", file=sys.stderr)
    return bank


def name_left_out(router: Any) -> None:
    """Print on stderr which routes ``--lang auto`` does not choose."""
    for name, reason in router.left_out().items():
        print(f"notice: auto leaves out {name}, which {reason}", file=sys.stderr)
