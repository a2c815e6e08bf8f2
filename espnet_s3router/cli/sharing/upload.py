"""``s3router upload``: a pack as a model on the Hugging Face hub."""

import argparse
import json
from typing import Any

from espnet_s3router.cli.arguments import add_json


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "upload",
        help="publish a pack on the Hugging Face hub",
        description="Uploads a pack. The token is that of HF_TOKEN or of `hf auth login`; it is never printed.",
        epilog="example: s3router upload europe.zip jane/routes-of-europe --dry_run",
    )
    parser.add_argument("pack", help="zip file or folder that s3router pack wrote")
    parser.add_argument("repo", metavar="OWNER/NAME", help="repository on the hub, which is created")
    parser.add_argument(
        "--private", action="store_true", help="create a repository that only its owner sees; with --update, demand one"
    )
    parser.add_argument("--update", action="store_true", help="add a commit to a repository that exists, or go on")
    parser.add_argument("--revision", default="", metavar="TAG", help="tag this version, to open it as OWNER/NAME@TAG")
    parser.add_argument("--dry_run", action="store_true", help="check the pack and list its files, and send nothing")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Upload, and print the files and the address."""
    from espnet_s3router.cli.quiet import quiet_imports
    from espnet_s3router.text_format import scaled

    with quiet_imports():
        from espnet_s3router.zoo.upload import upload

    options = {name: getattr(args, name) for name in ("private", "update", "revision", "dry_run")}
    done = upload(args.pack, args.repo, **options)
    if args.json:
        print(json.dumps(vars(done)))
        return
    for name, size in done.files.items():
        print(f"{scaled(size)}B\t{name}")
    total = f"{len(done.files)} files, {scaled(sum(done.files.values()))}B"
    print(f"{total}: {done.url}" if done.url else f"{total} would go to {done.repo}; nothing was sent")
