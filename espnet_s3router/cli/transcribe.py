"""``s3router transcribe``: the text of recordings in many languages, with one base and a folder of routes."""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_s3router.cli.models import add_models, open_models
from espnet_s3router.cli.quiet import quiet_imports
from espnet_s3router.errors import InputError, raise_problems

SHORTEST_WINDOW = 0.4  # seconds; windows share a quarter


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "transcribe",
        help="the text of recordings, with a folder of routes or a pack",
        description="Prints the text of each recording. One base is loaded, and the routes take turns on it.",
        epilog="example: s3router transcribe --model nl.zip a.wav b.flac",
    )
    parser.add_argument("audio", nargs="+", metavar="AUDIO", help="recordings of any length, rate and format")
    add_models(parser)
    parser.add_argument("--lang", help="name of the route: its file name without .route; auto: find it; not needed for one")
    parser.add_argument("--timestamps", action="store_true", help="print start, end and text of each word, in seconds")
    parser.add_argument("--json", action="store_true", help="print one line of JSON for each recording, with all times")
    parser.add_argument("--window", type=float, default=20.0, metavar="SECONDS", help="longest piece that is run at a time")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Transcribe the files and print each result as soon as it is there. Raises InputError at the end if some are faulty."""
    if not SHORTEST_WINDOW <= args.window < math.inf:
        raise InputError(f"--window is {args.window:g}, expected {SHORTEST_WINDOW} seconds or more")
    missing = [f"no file {path}" for path in args.audio if not Path(path).is_file()]
    raise_problems(missing, "recordings", "Nothing was transcribed. Give the paths of audio files.")
    with quiet_imports():
        from espnet_s3router.serving import Router
    models = open_models(args)
    router = Router(models, window_s=args.window, overlap_s=min(2.0, args.window / 4))
    lang = chosen(args.lang, models.names)
    if lang != "auto":
        models.config(lang)  # an unknown language is reported before the first recording is read
    problems = []
    for path in args.audio:
        try:
            print(line(path, router.transcribe(path, lang), args), flush=True)
        except InputError as error:
            problems.append(str(error))
            if args.json:
                print(json.dumps({"file": path, "error": str(error)}, ensure_ascii=False), flush=True)
    raise_problems(problems, f"{len(args.audio)} recordings", "The others are transcribed. Give other files for these.")


def chosen(lang: str | None, names: Sequence[str]) -> str:
    """The route of the command line, or the only one. Raises InputError if there are several and none is named."""
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
        timed = [word for word in transcript.words if word.start is not None]
        if len(timed) < len(transcript.words):
            print(f"notice: {path}: route {transcript.lang} decodes by beam search, which gives no times", file=sys.stderr)
        lines += [f"{word.start:.2f}\t{word.end:.2f}\t{word.text}" for word in timed]
    return "\n".join(lines)
