"""``s3router language``: one language of a joint run as an experiment of its own."""

import argparse
import json
from typing import Any

from espnet_s3router.cli.arguments import add_files, add_json, add_task


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "language",
        help="write one language of a joint run (method pathways) as an experiment of its own",
        epilog="example: s3router language exp/joint/config.yaml exp/joint/valid.cer_ctc.ave.pth nl exp/nl",
    )
    add_files(parser, "joint run")
    parser.add_argument("lang", help="language, as in languages of mask_conf")
    parser.add_argument("out", help="folder to write; it gets a config.yaml and a model file of method routing")
    add_task(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the experiment and print what it can be used for."""
    from espnet_s3router.cli.quiet import quiet_imports

    with quiet_imports():
        from espnet_s3router.plugin.language_model import write_language
    out = write_language(args.train_config, args.model_file, args.lang, args.out, task=args.task)
    if args.json:
        print(json.dumps({"out": str(out), "language": args.lang}))
        return
    print(f"{out}: an experiment of method routing; decode with it, or write its route with s3router route write")
