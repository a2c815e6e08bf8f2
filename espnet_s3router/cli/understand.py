"""``s3router understand``: intent, entities and transcript of recordings, with a folder of routes."""

import argparse
import json
from pathlib import Path
from typing import Any

from espnet_s3router.cli.arguments import add_json
from espnet_s3router.cli.models import add_models, open_models
from espnet_s3router.cli.quiet import quiet_imports
from espnet_s3router.errors import InputError, raise_problems
from espnet_s3router.progress import progress


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "understand",
        help="intent, entities and transcript of recordings, with a folder of routes or a pack",
        description="Prints the intent of each recording, its entities and its transcript, as far as the route gives them. "
        "The folder may hold routes of languages, too: they share one base.",
        epilog="example: s3router understand --bank routes --task services a.wav b.flac",
    )
    parser.add_argument("audio", nargs="+", metavar="AUDIO", help="recordings of any rate and format")
    add_models(parser)
    parser.add_argument("--task", required=True, metavar="NAME", help="name of the route: its file name without .route")
    add_json(parser, "recording")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Understand the files and print each result as soon as it is there. Raises InputError at the end if some are faulty."""
    missing = [f"no file {path}" for path in args.audio if not Path(path).is_file()]
    raise_problems(missing, "recordings", "Nothing was understood. Give the paths of audio files.")
    models = open_models(args)
    with quiet_imports():
        from espnet_s3router.serving import Router
        from espnet_s3router.serving.understanding import check_task, understand
    check_task(models, args.task)  # before the first recording is read
    router, problems = Router(models), []
    for path in progress(args.audio, "understand", "recording", prints=True):
        try:
            print(line(path, understand(router, path, args.task), as_json=args.json), flush=True)
        except InputError as error:
            problems.append(str(error))
            if args.json:
                print(json.dumps({"file": path, "error": str(error)}, ensure_ascii=False), flush=True)
    raise_problems(problems, f"{len(args.audio)} recordings", "The others are understood. Give other files for these.")


def line(path: str, found: Any, *, as_json: bool) -> str:
    """One recording as JSON, or as file, intent, entities and transcript with tabs between them."""
    if as_json:
        entities = [{"type": entity.kind, "filler": entity.filler} for entity in found.entities]
        facts = {"file": path, "task": found.task, "intent": found.intent, "probability": found.probability}
        return json.dumps(facts | {"entities": entities, "transcript": found.transcript}, ensure_ascii=False)
    listed = ", ".join(f"{entity.kind}: {entity.filler}" for entity in found.entities)
    return "\t".join([path, found.intent, listed, found.transcript]).rstrip("\t")
