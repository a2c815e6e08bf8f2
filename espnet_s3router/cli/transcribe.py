"""``s3router transcribe``: the text of recordings in many languages, with one base and a folder of routes."""

import argparse
import json
from collections.abc import Sequence
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "transcribe",
        help="the text of recordings, with a folder of routes or a pack",
        description="Prints the text of each recording. One base is loaded, and the routes take turns on it.",
        epilog="example: s3router transcribe --model nl.zip a.wav b.flac",
    )
    parser.add_argument("audio", nargs="+", metavar="AUDIO", help="recordings of any length, rate and format")
    models = parser.add_mutually_exclusive_group(required=True)
    models.add_argument("--bank", metavar="DIR", help="folder of .route files, one for each language")
    models.add_argument("--model", metavar="PACK", help="pack: a folder, a zip file, or OWNER/NAME[@REVISION] of the hub")
    parser.add_argument("--lang", help="name of the route: its file name without .route; auto: find it; not needed for one")
    parser.add_argument("--timestamps", action="store_true", help="print start, end and text of each word, in seconds")
    parser.add_argument("--json", action="store_true", help="print one line of JSON for each recording")
    parser.add_argument("--window", type=float, default=20.0, metavar="SECONDS", help="longest piece that is run at a time")
    parser.add_argument("--upstream", help="load this base, instead of the one that the routes name")
    parser.add_argument("--path_or_url", help="load the base from here")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Transcribe the files and print each result as soon as it is there."""
    import sys

    from espnet_s3router.cli.quiet import quiet_imports
    from espnet_s3router.cli.route import source_of

    with quiet_imports():
        from espnet_s3router.serving import Bank, Router

        if args.model:
            from espnet_s3router.zoo.opened import open_pack

            models = open_pack(args.model, device=args.device)
        else:
            models = Bank.from_dir(args.bank, source_of(args), device=args.device)
    for reason in getattr(models, "broken", {}).values():
        print(f"left out: {reason}", file=sys.stderr)
    router = Router(models, window_s=args.window, overlap_s=min(2.0, args.window / 4))
    lang = chosen(args.lang, models.names)
    if lang != "auto":
        models.config(lang)  # an unknown language is reported before the first recording is read
    for path in args.audio:
        print(line(path, router.transcribe(path, lang), args), flush=True)


def chosen(lang: str | None, names: Sequence[str]) -> str:
    """The route of the command line, or the only one. Raises InputError if there are several and none is named."""
    from espnet_s3router.errors import InputError

    if lang is None and len(names) > 1:
        raise InputError(f"--lang is missing: name one of {', '.join(names)}, or give auto to find it for each recording")
    return lang or names[0]


def line(path: str, transcript: Any, args: argparse.Namespace) -> str:
    """One recording as text or JSON."""
    found = transcript.identified
    confidence = None if found is None else round(found.confidence, 3)
    if args.json:
        words = [vars(word) for word in transcript.words]
        facts = {"file": path, "lang": transcript.lang, "confidence": confidence, "text": transcript.text, "words": words}
        return json.dumps(facts, ensure_ascii=False)
    lang = transcript.lang if confidence is None else f"{transcript.lang} (confidence {confidence})"
    lines = [f"{path}\t{lang}\t{transcript.text}"]
    if args.timestamps:
        lines += [f"{word.start:.2f}\t{word.end:.2f}\t{word.text}" for word in transcript.words if word.start is not None]
    return "\n".join(lines)
