"""``python -m espnet_s3router.bin.asr_deploy``: the route file of a finished experiment; without a route, a baked model.

Both are compared with the trained model on recordings, bit for bit, before they are put in place. A report says what was
written: ``route``, ``bytes``, ``bytes_masks`` and ``tensor_types``, else ``no_route`` with the reason; ``baked`` or
``not_baked`` with the reason; ``exported``, ``bytes_exported`` and ``export_left_out``, the number of utterances that the
exported model was not judged on, or ``not_exported`` with the reason; ``checked_on``, the number of recordings.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_s3router.bin.recordings import read_waves
from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import read_yaml, write_atomic


def deploy(args: argparse.Namespace) -> dict[str, Any]:
    """Write what the options ask for, and return the report."""
    from espnet_s3router.plugin.deployment.bake import NotBakeable, bake_experiment
    from espnet_s3router.plugin.deployment.route import NoRoute, write_experiment
    from espnet_s3router.routes import EmptyRoute, describe

    files, options = (args.asr_train_config, args.asr_model_file), {"task": args.task}
    waves = read_waves(args.wav_scp, args.utterances)
    metadata = json.loads(Path(args.metadata).read_text(encoding="utf-8")) if args.metadata else {}
    decoding = {key: True for key, value in (("ctc_best_path", args.ctc_best_path), ("intents", args.intents)) if value}
    decoding |= read_yaml(args.decode_config) if args.decode_config else {}
    report: dict[str, Any] = {"checked_on": len(waves)}
    try:
        written = describe(
            write_experiment(*files, args.route, **options, metadata=metadata, decoding=decoding, same_text=waves)
        )
        report |= {"route": Path(args.route).name, "bytes": written["bytes"]}
        report |= {"bytes_masks": written["bytes_by_part"]["masks"], "tensor_types": written["tensor_types"]}
    except (NoRoute, EmptyRoute) as error:
        report["no_route"] = str(error)
        if args.baked:
            try:
                report["baked"] = bake_experiment(*files, args.baked, **options, waves=waves).name
            except NotBakeable as reason:
                report["not_baked"] = str(reason)
    return report | (export(args) if args.exported else {})


def export(args: argparse.Namespace) -> dict[str, Any]:
    """Write the models in ONNX, and return their part of the report."""
    from espnet_s3router.bin.onnx_export import chosen_of, gate_of
    from espnet_s3router.plugin.onnx_export.experiment import export_experiment
    from espnet_s3router.text_files import read_text

    recordings = chosen_of(read_text(args.wav_scp), read_text(args.text), args.export_utterances)
    phones = read_yaml(args.asr_train_config).get("token_type") == "phn"
    gate = gate_of(recordings, phones=phones, accept_loss=args.accept_loss)
    files = (args.asr_train_config, args.asr_model_file, args.exported)
    try:
        made = export_experiment(*files, recordings.waves(), kinds=args.export, gate=gate)
    except InputError as reason:  # the route counts, whatever becomes of the export
        return {"not_exported": str(reason)}
    report = {"exported": Path(args.exported).name, "bytes_exported": made["bytes"]}
    return report | {"export_left_out": made.get("utterances_left_out", recordings.left_out)}


def main(cmd: Sequence[str] | None = None) -> None:
    """Write a route file or a baked model, and the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("asr", "slu"), default="asr", help="task of ESPnet that has trained")
    parser.add_argument("--asr_train_config", required=True, help="config.yaml of the experiment")
    parser.add_argument("--asr_model_file", required=True, help="its model, for example valid.cer_ctc.ave.pth")
    parser.add_argument("--route", required=True, help="route file to write")
    parser.add_argument("--report", required=True, help="JSON file to write")
    parser.add_argument("--wav_scp", required=True, help="table of recordings to compare on")
    parser.add_argument("--utterances", type=int, default=20, help="how many of them, spread over the table")
    parser.add_argument("--metadata", help="JSON file with language, corpus, licence and the like, kept in the route")
    parser.add_argument("--decode_config", help="YAML file of decoding options, kept in the route")
    parser.add_argument(
        "--ctc_best_path", action="store_true", help="the route decodes by best path, as asr_inference with it"
    )
    parser.add_argument("--intents", action="store_true", help="the texts of the route begin with an intent")
    parser.add_argument("--baked", help="folder to bake into, if the method has no route")
    parser.add_argument("--exported", help="folder to write models in ONNX into")
    parser.add_argument("--export", nargs="+", default=["fp32"], help="fp32, int8 or both")
    parser.add_argument("--export_utterances", type=int, help="judge models in ONNX on so many utterances instead of on all")
    parser.add_argument("--text", help="table of the texts of the recordings, on which int8 is judged")
    parser.add_argument("--accept_loss", action="store_true", help="write an int8 model that loses more than 0.5 points")
    args = parser.parse_args(cmd)
    if args.exported and not args.text:
        raise InputError("--exported needs --text: the int8 model is judged on it")
    if args.utterances < 1:
        raise InputError(f"--utterances is {args.utterances}, expected at least 1")
    write_atomic(args.report, json.dumps(deploy(args), indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(exit_status(main)())
