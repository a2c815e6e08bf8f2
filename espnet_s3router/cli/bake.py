"""``s3router bake``: a finished experiment as a model for ESPnet without this package."""

import argparse
import json
from typing import Any

from espnet_s3router.cli.arguments import add_files, add_json, add_task


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "bake",
        help="write masks into plain weights: ESPnet loads the model without this package",
        epilog="example: s3router bake exp/asr/config.yaml exp/asr/valid.cer_ctc.ave.pth baked",
    )
    add_files(parser)
    parser.add_argument("out", help="folder to write; it gets the config.yaml and model.pth to decode with")
    add_task(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Bake the model and print how to decode with it."""
    from espnet_s3router.cli.quiet import quiet_imports

    with quiet_imports():
        from espnet_s3router.plugin.deployment.bake import bake_experiment
    out = bake_experiment(args.train_config, args.model_file, args.out, task=args.task)
    upstream = next((path for path in out.iterdir() if path.is_dir()), None)
    if args.json:
        shipped = None if upstream is None else str(upstream)
        print(json.dumps({"out": str(out), "files": sorted(path.name for path in out.iterdir()), "upstream": shipped}))
        return
    print(
        f"{out}: config.yaml and model.pth; python -m espnet2.bin.{args.task}_inference --{args.task}_train_config "
        f"{out}/config.yaml --{args.task}_model_file {out}/model.pth …"
    )
    if upstream is not None:
        print(f"config.yaml names the folder of the upstream in {out}: if you move it, change path_or_url")
