"""The commands of pretraining. ``python -m espnet_s3router.pretraining COMMAND --help`` explains each.

The command ``store`` is the function ``run`` of the module ``store``, and so on; ``card`` is ``run_card`` of ``export``.
ssl.sh calls the commands in this order: config, store, then clusters and train for each iteration, curves, purity, card,
export.
"""

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from espnet_s3router.errors import exit_status


def build_parser() -> argparse.ArgumentParser:
    """Declare the options of every command."""
    parser = argparse.ArgumentParser("python -m espnet_s3router.pretraining")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, text: str, module: str = "", function: str = "run") -> Any:
        parser = commands.add_parser(name, help=text, description=text)
        parser.set_defaults(module=module or name, function=function)
        return parser.add_argument

    add = command("config", "check a configuration before hours of work")
    add("config", type=Path)
    add("--layer", type=int, default=1, help="layer whose output will be clustered; 1 is the lowest")

    add = command("store", "write all recordings into one file, trimmed and levelled")
    add("folder", type=Path)
    add("data_dirs", type=Path, nargs="+")
    add("--held_out", type=Path, nargs="*", default=[], help="folders whose recordings must not be included")
    add("--hours", type=float, default=0.0, help="limit of the audio, drawn from all folders; 0: no limit")

    add = command("clusters", "make the targets of one iteration")
    add("store", type=Path)
    add("folder", type=Path)
    add("--clusters", type=int, default=100)
    add("--model", type=Path, help="exported model whose hidden states are clustered; default: MFCCs")
    add("--layer", type=int, default=4)
    add("--device", default="cpu", help="device that computes hidden states")
    add("--seed", type=int, default=0)
    add("--run", type=Path, help="folder of the run that is trained on these labels")

    add = command("train", "train one iteration and export its model; an interrupted run continues")
    for name in ("--config", "--store", "--labels", "--output"):
        add(name, type=Path, required=True)
    add("--updates", type=int, required=True)
    add("--max_hours", type=float, default=0.0, help="limit of the training time, shortens the schedule; 0: no limit")
    add("--init", type=Path, help="exported model to start from")
    add("--device", default="cpu")
    add("--autocast", action=argparse.BooleanOptionalAction, help="use bfloat16; default: where the device supports it")

    add = command("export", "write a model with random weights, for comparison with a trained one")
    add("config", type=Path)
    add("folder", type=Path)
    add("--log_mel", action="store_true", help="write a Transformer on log-mels, for hf_whisper_custom")
    add("--seed", type=int, default=0)

    add = command("curves", "plot the learning curves of all iterations")
    add("folders", type=Path, nargs="+")
    add("--output", type=Path, required=True)

    add = command("purity", "compare clusters with phones")
    add("store", type=Path)
    add("phones", type=Path, help="folder of Festival label files with the names of the recordings")
    add("labels", type=Path, nargs="*")
    add("--model", type=Path, help="exported model whose --layers are clustered")
    add("--layers", type=int, nargs="+", default=[])
    add("--clusters", type=int, default=100)
    add("--output", type=Path, help="JSON file to write")

    text = "write the model of the last iteration with a card that describes its training"
    add = command("card", text, "export", "run_card")
    add("folder", type=Path)
    add("--iterations", type=Path, nargs="+", required=True)
    add("--store", type=Path, required=True)
    add("--data_dirs", type=Path, nargs="*", default=[], help="folders whose LICENCE files are copied")
    add("--notes", type=Path, help="Markdown to append: licences, limits of the model")
    return parser


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Run one command."""
    args = build_parser().parse_args(argv)
    getattr(import_module(f"espnet_s3router.pretraining.{args.module}"), args.function)(args)


if __name__ == "__main__":
    raise SystemExit(main())
