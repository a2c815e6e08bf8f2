"""``s3router pack …``: a model as one file or folder that works on any machine."""

import argparse
import json
from typing import Any

from espnet_s3router.cli.arguments import add_base, add_facts, add_files, add_json, add_task, audio_of, facts_of, source_of

BASES = ("auto", "inside", "name")


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser("pack", help="a model as one file that works on any machine")
    actions = parser.add_subparsers(required=True, metavar="KIND")

    routes = actions.add_parser(
        "routes",
        help="routes of one base",
        description="Packs routes of one base. The pack is opened again, and each route must give the same outputs from it.",
        epilog="example: s3router pack routes europe.zip nl.route de.route --licence CC0-1.0 --audio a.wav",
    )
    routes.add_argument("out", help="file to write (….zip), or a folder")
    routes.add_argument("files", nargs="+", metavar="ROUTE", help=".route files; a file name names its route")
    text = "copy the weights of the base into the pack, or name them; auto: copy weights that lie on this machine"
    routes.add_argument("--base", choices=BASES, default="auto", help=text)
    routes.add_argument("--licence", default="", help="licence of the data, for routes that do not tell it")
    add_base(routes)
    _add_common(routes)
    routes.set_defaults(run=run_routes)

    baked = actions.add_parser(
        "baked",
        help="a model for ESPnet without this package",
        description="Bakes an experiment into a pack. ESPnet opens it, and must give the outputs of the trained model.",
        epilog="example: s3router pack baked nl.zip exp/asr/config.yaml exp/asr/valid.cer_ctc.ave.pth --language nl",
    )
    _add_experiment(baked)
    whole = actions.add_parser(
        "experiment",
        help="any other model, such as a shrunk one, for this package",
        description="Packs an experiment that is neither baked nor a route. The pack is opened again.",
        epilog="example: s3router pack experiment small.zip exp/asr_hj_small/config.yaml exp/asr_hj_small/model.pth",
    )
    _add_experiment(whole)


def _add_experiment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", help="file to write (….zip), or a folder")
    add_files(parser)
    add_task(parser)
    add_facts(parser, "for the card")
    _add_common(parser)
    parser.set_defaults(run=run_experiment, kind=parser.prog.split()[-1])


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base_licence", default="", help="licence of the base, instead of what its folder says")
    parser.add_argument("--audio", nargs="+", default=[], metavar="FILE", help="recordings to transcribe from the pack")
    text = "PNG files to put into the pack and on its card, such as exp/cer_against_sparsity.png"
    parser.add_argument("--plots", nargs="+", default=[], metavar="FILE", help=text)
    add_json(parser)


def run_routes(args: argparse.Namespace) -> None:
    """Pack routes and say what they recognise."""
    from espnet_s3router.cli.quiet import quiet_imports

    with quiet_imports():
        from espnet_s3router.zoo.routes import pack_routes

        waves = [audio_of(path) for path in args.audio]
        options = {"base": args.base, "source": source_of(args), "licence": args.licence, "plots": args.plots}
        packed = pack_routes(args.files, args.out, base_licence=args.base_licence, waves=waves, **options)
    report(packed, args)


def run_experiment(args: argparse.Namespace) -> None:
    """Pack an experiment, baked or as it is, and say what it recognises."""
    from espnet_s3router.cli.quiet import quiet_imports

    with quiet_imports():
        from espnet_s3router.zoo.experiment import pack_model

        facts = facts_of(args)
        waves = [audio_of(path) for path in args.audio]
        files = (args.train_config, args.model_file, args.out)
        options = {"kind": args.kind, "task": args.task, "base_licence": args.base_licence, "plots": args.plots}
        packed = pack_model(*files, facts=facts, waves=waves, **options)
    report(packed, args)


def report(packed: Any, args: argparse.Namespace) -> None:
    """Print what was written, and the texts of the check."""
    if args.json:
        facts = {"file": str(packed.path), "kind": packed.kind, "bytes": packed.bytes, "texts": packed.texts}
        print(json.dumps(facts, ensure_ascii=False))
        return
    for name, texts in packed.texts.items():
        for path, text in zip(args.audio, texts):
            print(f"{path}\t{name}\t{text}")
    names = ", ".join(packed.texts)
    print(f"{packed.path}: {packed.bytes} bytes, {packed.kind}: {names}; opened again, and its outputs are those before")
