"""``s3router shrink``: a model that closed units, as a smaller model."""

import argparse
import json
from typing import Any

from espnet_s3router.cli.arguments import add_folder, add_json, add_task, audio_of


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "shrink",
        help="remove the closed units of a run of hj, omp_units, uniform or ranking: units; outputs stay the same",
        epilog="example: s3router shrink exp/asr_hj --out exp/asr_hj_small --audio a.wav",
    )
    add_folder(parser, "folder of the finished run, with its config.yaml")
    parser.add_argument("--out", required=True, help="folder to write: config.yaml, model.pth and upstream.safetensors")
    parser.add_argument("--audio", nargs="*", default=[], metavar="FILE", help="recordings to compare both models on")
    parser.add_argument("--sparsity", type=float, help="size to take out of a run of method hj with several sizes")
    add_task(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Shrink the model and print what is left, and how to decode with it."""
    from espnet_s3router.cli.deployment.count import table
    from espnet_s3router.cli.quiet import quiet_imports

    with quiet_imports():
        from espnet_s3router.plugin.deployment.finished import files_of
        from espnet_s3router.plugin.deployment.route import speech_like
        from espnet_s3router.plugin.deployment.shrink import shrink_experiment

    waves = [audio_of(path) for path in args.audio] or [speech_like(2.0)]
    config, model = files_of(args.experiment, args.model_file)
    done = shrink_experiment(config, model, args.out, task=args.task, waves=waves, sparsity=args.sparsity)
    if args.json:
        facts = {name: getattr(done, name) for name in ("target", "reached", "largest_difference", "dense", "pruned")}
        print(json.dumps({"out": str(done.folder), **facts}))
        return
    print(table(done.dense, done.pruned))
    print(
        f"sparsity {done.reached:.4f}, target {done.target}; outputs differ by {done.largest_difference:.1e} of the largest"
    )
    print(
        f"{done.folder}: decode it with python -m espnet_s3router.bin.{args.task}_inference --{args.task}_train_config "
        f"{done.folder}/config.yaml --{args.task}_model_file {done.folder}/model.pth …"
    )
    print(
        f"to finetune it or prune it again, set shrunk: {done.folder}/upstream.safetensors beside upstream in frontend_conf"
    )
