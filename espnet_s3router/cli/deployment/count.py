"""``s3router count``: parameters, bytes and MACs of an upstream, dense against pruned."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from espnet_s3router.cli.arguments import add_folder, add_json, add_task


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "count",
        help="parameters, bytes and MACs per second of audio, dense against pruned",
        epilog="example: s3router count exp/asr_hj --seconds 10",
    )
    add_folder(parser, "folder of a finished run, with its config.yaml, or a folder of s3router shrink")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the utterance: attention grows with it")
    add_task(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print the counts of the upstream."""
    from espnet_s3router.cli.quiet import quiet_imports

    with quiet_imports():
        from espnet_s3router.plugin.deployment.count import count_experiment
        from espnet_s3router.plugin.deployment.finished import files_of

    figures = count_experiment(*files_of(args.experiment, args.model_file), task=args.task, seconds=args.seconds)
    if args.json:
        print(json.dumps(figures))
        return
    print(f"{figures['upstream']}, method {figures['method']}: without the head, an utterance of {args.seconds:g} s")
    print(table(figures["dense"], figures["pruned"]))
    for name, sizes in figures["pruned"]["widths"].items():
        print(f"{name}: {' '.join(map(str, sizes))}")


def table(dense: Mapping[str, Any], pruned: Mapping[str, Any]) -> str:
    """Parameters, bytes and MACs per second by part, as lines of text. 1 MAC = 2 FLOPs."""
    parts = list(dense["macs_per_second"] | dense["parameters"])
    parts = [part for part in parts if part != "total"] + ["total"]
    lines = [f"{'':14}{'parameters':>26}{'bytes (float32)':>30}{'MACs a second (= 2 FLOPs)':>34}"]
    for part in parts:
        cells = [_cell(dense[kind].get(part), pruned[kind].get(part)) for kind in ("parameters", "bytes", "macs_per_second")]
        lines.append(f"{part:14}{cells[0]:>26}{cells[1]:>30}{cells[2]:>34}")
    return "\n".join(lines)


def _cell(dense: int | None, pruned: int | None) -> str:
    """What a part has now, and how much less that is."""
    if not dense or pruned is None:
        return "-" if not dense and not pruned else f"{pruned:,}"
    return f"{pruned:,} ({pruned / dense - 1:+.1%})"
