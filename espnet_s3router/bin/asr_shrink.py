"""``python -m espnet_s3router.bin.asr_shrink``: the smaller model of a finished run that removes units.

Both models are compared and timed on recordings. A report says what was written: ``sparsity`` and ``target``, ``parameters``
and ``macs`` of the upstream (MACs for a second of audio), ``difference`` of outputs, real-time factors ``rtf`` and
``rtf_dense``, and ``checked_on``, the number of recordings.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.errors import exit_status
from espnet_s3router.files import write_atomic


def main(cmd: Sequence[str] | None = None) -> None:
    """Write the smaller model, in the place of an older one, and the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("asr", "slu"), default="asr", help="task of ESPnet that has trained")
    parser.add_argument("--asr_train_config", required=True, help="config.yaml of the experiment")
    parser.add_argument("--asr_model_file", required=True, help="its model, for example valid.cer_ctc.ave.pth")
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument("--report", required=True, help="JSON file to write")
    parser.add_argument("--wav_scp", required=True, help="table of recordings to compare and time on")
    parser.add_argument("--utterances", type=int, default=20, help="how many of them, spread over the table")
    parser.add_argument("--if_any", action="store_true", help="no error if the run has removed no whole unit: write nothing")
    args = parser.parse_args(cmd)
    from espnet_s3router.bin.recordings import read_waves
    from espnet_s3router.plugin.deployment.shrink import NothingToShrink, shrink_experiment

    waves = read_waves(args.wav_scp, args.utterances)
    shutil.rmtree(args.out, ignore_errors=True)
    Path(args.report).unlink(missing_ok=True)
    files = (Path(args.asr_train_config), Path(args.asr_model_file), args.out)
    try:
        done = shrink_experiment(*files, task=args.task, waves=waves)
    except NothingToShrink as reason:
        if not args.if_any:
            raise
        print(reason)
        return
    report = {
        "checked_on": len(waves),
        "target": done.target,
        "sparsity": done.reached,
        "parameters": done.pruned["parameters"]["total"],
        "macs": done.pruned["macs_per_second"]["total"],
        "difference": done.largest_difference,
        "rtf": done.rtf,
        "rtf_dense": done.dense_rtf,
    }
    write_atomic(args.report, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(exit_status(main)())
