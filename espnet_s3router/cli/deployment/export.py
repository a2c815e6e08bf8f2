"""``s3router export``: a finished experiment, or a folder of routes, as a model in ONNX."""

import argparse
import json
from typing import Any

from espnet_s3router.cli.arguments import add_folder, add_json, source_of

DESCRIPTION = """
Writes a model that onnxruntime runs without torch, ESPnet and this package: model.onnx, vocab.txt and config.json.
onnxruntime opens it and must give the text of the trained model on real recordings, or nothing is written.
Units that the method of a run has closed are removed.
With int8, the matrices of products take 8 bits, and the file model.int8.onnx is about a quarter as large.
"""


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "export",
        help="write a model in ONNX: a finished experiment, or many routes over one graph",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: s3router export exp/asr_routing --out onnx --kinds fp32 int8 --check_data dump/raw/dev",
    )
    text = "folder of a finished experiment, or one of s3router shrink"
    add_folder(parser, text, nargs="?", metavar="EXPERIMENT")
    parser.add_argument("--bank", metavar="DIR", help="instead of an experiment: a folder of .route files on one base")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--kinds", nargs="+", choices=("fp32", "int8"), default=["fp32"], help="which files to write")
    parser.add_argument("--audio", nargs="+", default=[], metavar="AUDIO", help="recordings to compare the models on")
    parser.add_argument("--check_data", metavar="DIR", help="Kaldi-style data directory to compare on, with texts for int8")
    parser.add_argument("--check_utterances", type=int, help="only so many of them, spread over the directory")
    parser.add_argument("--accept_loss", action="store_true", help="write an int8 model that loses more than 0.5 %%")
    parser.add_argument("--upstream", help="with --bank: load this base, instead of the one that the routes name")
    parser.add_argument("--path_or_url", help="with --bank: load the base from here")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Export, and print what was written."""
    from espnet_s3router.bin.onnx_export import check_gate, recordings_of
    from espnet_s3router.errors import InputError

    if (args.experiment is None) == (args.bank is None):
        raise InputError("expected the folder of an experiment, or --bank with a folder of routes: give one of them")
    if args.bank and args.kinds != ["fp32"]:
        raise InputError("--bank with int8: the weights that routes change stay in 32 bits. Export one language for int8")
    if args.check_utterances is not None and args.check_utterances < 1:
        raise InputError(f"--check_utterances is {args.check_utterances}, expected at least 1")
    recordings = recordings_of(args.audio, args.check_data, args.check_utterances)
    if not recordings.paths:
        raise InputError("there is no recording to compare the models on: give some with --audio or --check_data")
    check_gate(recordings, args.kinds, args.accept_loss)
    report = export(args, recordings)
    if args.json:
        print(json.dumps({"out": args.out, **report}))
        return
    print_report(args.out, report)


def export(args: argparse.Namespace, recordings: Any) -> dict[str, Any]:
    """The report of what was written."""
    from espnet_s3router.bin.onnx_export import gate_of
    from espnet_s3router.cli.quiet import quiet_imports
    from espnet_s3router.files import read_yaml

    if args.bank:
        with quiet_imports():
            from espnet_s3router.serving.bank_export import export_bank

            return export_bank(args.bank, args.out, recordings.waves(), source_of(args))
    with quiet_imports():
        from espnet_s3router.plugin.deployment.finished import files_of
        from espnet_s3router.plugin.onnx_export.experiment import export_experiment

        config, model_file = files_of(args.experiment, args.model_file)
        phones = read_yaml(config).get("token_type") == "phn"
        gate = gate_of(recordings, phones=phones, accept_loss=args.accept_loss)
        return export_experiment(config, model_file, args.out, recordings.waves(), kinds=args.kinds, gate=gate)


def print_report(out: str, report: dict[str, Any]) -> None:
    """What was written, in a few lines."""
    from espnet_s3router.text_format import scaled

    for name, size in report["bytes"].items():
        print(f"{out}/{name}: {scaled(size)}B")
    print(f"same text as the trained model on {report['compared_on']} recordings")
    for metric, rate in report.get("error_rates", {}).items():
        print(f"{metric.upper()}: {rate:.2f} %, int8 {report['error_rates_int8'][metric]:.2f} %")
    if report.get("utterances_left_out"):
        print(f"the rates are those of a part: {report['utterances_left_out']} utterances of the directory are left out")
    if "int8_products" in report:
        bits = "7 bits: this processor needs it" if report["reduce_range"] else "8 bits"
        print(f"{report['int8_products']} matrix products in {bits}; convolutions stay in 32")
