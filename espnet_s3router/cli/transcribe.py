"""``s3router transcribe``: the text of recordings or of a microphone, with a folder of routes, a pack or a model in ONNX."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from espnet_s3router.cli.models import add_models, name_left_out, open_models
from espnet_s3router.cli.quiet import quiet_imports
from espnet_s3router.errors import InputError, raise_problems
from espnet_s3router.exported.layout import model_path
from espnet_s3router.progress import progress

MICROPHONE = "microphone"
"""Stands for the path of what a microphone recorded."""
DESCRIPTION = """
Prints the text of each recording. One base is loaded, and the routes of a bank take turns on it.
An exported model stands before the recordings: s3router transcribe onnx/model.onnx a.wav.
"""
AUDIO = "recordings of any length, rate and format; before them a model in ONNX, where no other model is given"
AUTO = "auto"
RATE = 16000  # Hz
SHORTEST_WINDOW = 0.4  # seconds; windows share a quarter


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "transcribe",
        help="the text of recordings, with a folder of routes, a pack or a model in ONNX",
        description=DESCRIPTION,
        epilog="example: s3router transcribe --model nl.zip a.wav b.flac",
    )
    parser.add_argument("audio", nargs="*", metavar="AUDIO", help=AUDIO)
    text = "record so many seconds now, instead of AUDIO; needs the extra microphone of this package"
    parser.add_argument("--microphone", type=float, metavar="SECONDS", help=text)
    add_models(parser, required=False)
    parser.add_argument("--lang", help="name of the route: its file name without .route; auto: find it; not needed for one")
    parser.add_argument("--timestamps", action="store_true", help="print start, end and text of each word, in seconds")
    parser.add_argument("--json", action="store_true", help="print one line of JSON for each recording, with all times")
    parser.add_argument("--window", type=float, default=20.0, metavar="SECONDS", help="longest piece that is run at a time")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Transcribe the files and print each result as soon as it is there. Raises InputError at the end if some are faulty."""
    if not SHORTEST_WINDOW <= args.window < math.inf:
        raise InputError(f"--window is {args.window:g}, expected {SHORTEST_WINDOW} seconds or more")
    model = None
    if args.bank is None and args.model is None:
        model = onnx_model_of(args)
    if not args.audio and args.microphone is None:
        raise InputError("there is nothing to transcribe. Give at least one recording, or --microphone SECONDS")
    missing = [f"no file {path}" for path in args.audio if not Path(path).is_file()]
    raise_problems(missing, "recordings", "Nothing was transcribed. Give the paths of audio files.")
    if args.microphone is not None:
        run_microphone(args, model)
        return
    transcribe = opened(args, model)
    problems = []
    for path in progress(args.audio, "transcribe", "recording", prints=True):
        try:
            print(line(path, transcribe(path), args), flush=True)
        except InputError as error:
            problems.append(str(error))
            if args.json:
                print(json.dumps({"file": path, "error": str(error)}, ensure_ascii=False), flush=True)
    raise_problems(problems, f"{len(args.audio)} recordings", "The others are transcribed. Give other files for these.")


def run_microphone(args: argparse.Namespace, model: Path | None) -> None:
    """Record and transcribe. The model is opened first, so that the text follows the speech at once."""
    from espnet_s3router.data.microphone import Microphone, checked_seconds

    seconds = checked_seconds(args.microphone)
    if args.audio:
        raise InputError(f"--microphone is {seconds:g} with {len(args.audio)} recordings, expected one of both")
    microphone = Microphone()
    transcribe = opened(args, model)
    import torch

    print(f"{microphone.name}: recording {seconds:g} s, speak now", file=sys.stderr, flush=True)
    wave = torch.from_numpy(microphone.record(seconds, RATE))
    print(line(MICROPHONE, transcribe(wave), args), flush=True)


def onnx_model_of(args: argparse.Namespace) -> Path:
    """The model in ONNX before the recordings, which is taken from them. Raises InputError if there is none."""
    if not args.audio:
        raise InputError("no model is named: give --bank, --model or, before the recordings, an .onnx file")
    first, *args.audio = args.audio
    path = model_path(first)
    if path is None:
        raise InputError(
            f"{first} is no model in ONNX, and no other is named: give --bank, --model or, first, an .onnx file"
        )
    if not args.audio and args.microphone is None:
        raise InputError(f"{first}: there is no recording behind the model. Give at least one")
    if args.lang is not None:
        raise InputError(f"--lang is {args.lang}, but {path} knows one language: leave it out")
    return path


def opened(args: argparse.Namespace, model: Path | None) -> Callable[[Any], Any]:
    """What transcribes a file, or samples (samples,) at 16 kHz.

    ``model``: the model in ONNX instead of ``--bank`` and ``--model``.
    """
    windows: dict[str, Any] = {"window_s": args.window, "overlap_s": min(2.0, args.window / 4)}
    onnx = model or (model_path(args.bank) if args.bank else None)
    if onnx is not None:
        refuse_options(args, onnx)
    if model is not None:
        from espnet_s3router.serving.onnx_model import OnnxModel

        return OnnxModel(model, **windows).transcribe
    if onnx is not None:
        from espnet_s3router.serving.onnx_bank import OnnxBank

        bank = OnnxBank(args.bank, **windows)
        lang = chosen(args.lang, bank.names, "")
        bank.file(lang)
        return lambda path: bank.transcribe(path, lang)
    with quiet_imports():
        from espnet_s3router.serving.router import Router
    models = open_models(args)
    router = Router(models, **windows)
    lang = chosen(args.lang, models.names)
    if lang == AUTO:
        name_left_out(router)
    else:
        models.config(lang)  # an unknown language is reported before the first recording is read
    return lambda path: router.transcribe(path, lang)


def refuse_options(args: argparse.Namespace, model: Path) -> None:
    """Raises InputError for options that a model in ONNX cannot follow."""
    given = [f"--{name}" for name in ("upstream", "path_or_url") if getattr(args, name) is not None]
    given += ["--device"] * (args.device != "cpu")
    if given:
        raise InputError(f"{model}: a model in ONNX holds its base and runs on the CPU. Leave out {' and '.join(given)}")
    if args.lang == AUTO:
        raise InputError(f"{model}: a model in ONNX does not find the language. Name it with --lang instead of {AUTO}")


def chosen(lang: str | None, names: Sequence[str], auto: str = f", or give {AUTO} to find it for each recording") -> str:
    """The route of the command line, or the only one. Raises InputError if there are several and none is named."""
    if lang is None and len(names) > 1:
        raise InputError(f"--lang is missing: name one of {', '.join(names)}{auto}")
    return lang or names[0]


def line(path: str, transcript: Any, args: argparse.Namespace) -> str:
    """One recording as text or JSON."""
    found = transcript.identified
    confidence = None if found is None else round(found.confidence, 3)
    if args.json:
        words = [vars(word) for word in transcript.words]
        facts = {
            "file": path,
            "lang": transcript.lang or None,
            "confidence": confidence,
            "text": transcript.text,
            "words": words,
        }
        return json.dumps(facts, ensure_ascii=False)
    lang = transcript.lang if confidence is None else f"{transcript.lang} (confidence {confidence})"
    lines = ["\t".join(part for part in (path, lang or None, transcript.text) if part is not None)]
    if args.timestamps:
        timed = [word for word in transcript.words if word.start is not None]
        if len(timed) < len(transcript.words):
            print(f"notice: {path}: route {transcript.lang} decodes by beam search, which gives no times", file=sys.stderr)
        lines += [f"{word.start:.2f}\t{word.end:.2f}\t{word.text}" for word in timed]
    return "\n".join(lines)
