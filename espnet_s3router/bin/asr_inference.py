"""``python -m espnet_s3router.bin.asr_inference``: ``espnet2.bin.asr_inference`` with masked upstreams.

The options are the same, and one more: ``--ctc_best_path true`` replaces the beam search by best-path CTC decoding.
"""

import argparse
import importlib
from collections.abc import Sequence
from contextlib import nullcontext

from espnet_s3router.bin.recordings import check_recordings
from espnet_s3router.errors import InputError, exit_status

OPTION = "--ctc_best_path"


def split_options(cmd: Sequence[str] | None) -> tuple[bool, list[str]]:
    """(True for best-path decoding, the options of ESPnet) of a command line."""
    parser = argparse.ArgumentParser(prog="asr_inference", add_help=False, allow_abbrev=False)
    parser.add_argument(OPTION, OPTION.replace("_", "-"), default="false", nargs="?", const="")
    ours, espnet_options = parser.parse_known_args(cmd)
    if ours.ctc_best_path not in ("true", "false"):
        raise InputError(f"{OPTION} is {ours.ctc_best_path!r}, expected true or false")
    return ours.ctc_best_path == "true", espnet_options


def decode(task: str, cmd: Sequence[str] | None) -> None:
    """Decode with the options ``cmd`` of ``espnet2.bin.TASK_inference`` and the one of this module."""
    inference = importlib.import_module(f"espnet2.bin.{task}_inference")
    from espnet_s3router.plugin.best_path import best_path_decoding  # this import registers the frontend, too
    from espnet_s3router.plugin.upstreams.source import opening

    best_path, espnet_options = split_options(cmd)
    if {"-h", "--help"} & set(espnet_options):
        print(f"{OPTION} true|false, and ESPnet's options:\n")
    args = inference.get_parser().parse_args(espnet_options)
    config = getattr(args, f"{task}_train_config")
    check_recordings(args.data_path_and_name_and_type, args.key_file, config)
    with best_path_decoding(task) if best_path else nullcontext(), opening(config):
        inference.main(cmd=espnet_options)


def main(cmd: Sequence[str] | None = None) -> None:
    """Decode with the options ``cmd``, by default those of the command line."""
    decode("asr", cmd)


if __name__ == "__main__":
    raise SystemExit(exit_status(main)())
