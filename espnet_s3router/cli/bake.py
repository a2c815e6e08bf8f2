"""``s3router bake``: a finished experiment as a model for ESPnet without this package."""

import argparse
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "bake",
        help="write masks into plain weights: ESPnet loads the model without this package",
        epilog="example: s3router bake exp/asr/config.yaml exp/asr/valid.cer_ctc.ave.pth baked",
    )
    parser.add_argument("train_config", help="config.yaml of the experiment")
    parser.add_argument("model_file", help="model of the experiment, for example valid.cer_ctc.ave.pth")
    parser.add_argument("out", help="folder to write; it gets the config.yaml and model.pth to decode with")
    parser.add_argument("--task", choices=("asr", "slu"), default="asr")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Bake the model and print how to decode with it."""
    from espnet_s3router.cli.quiet import quiet_imports

    with quiet_imports():
        from espnet_s3router.plugin.deployment.bake import bake_experiment
    out = bake_experiment(args.train_config, args.model_file, args.out, task=args.task)
    print(
        f"{out}: config.yaml and model.pth; python -m espnet2.bin.{args.task}_inference --{args.task}_train_config "
        f"{out}/config.yaml --{args.task}_model_file {out}/model.pth …"
    )
    if any(path.is_dir() for path in out.iterdir()):  # a shipped upstream
        print(f"config.yaml names the folder of the upstream in {out}: if you move it, change path_or_url")
