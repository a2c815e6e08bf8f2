"""``s3router route …``: write, describe, compare, merge and check route files."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from espnet_s3router.cli.arguments import add_base, add_facts, add_files, add_json, add_task, audio_of, facts_of, source_of
from espnet_s3router.cli.routes.route_text import comparison, description

MERGE_RULES = ("union", "intersection", "majority")


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser("route", help="files of what one language or task adds to a base")
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    example = "s3router route write exp/asr/config.yaml exp/asr/valid.cer_ctc.ave.pth nl.route --language nl"
    write = _action(actions, "write", run_write, "the route file of a trained experiment", example)
    add_files(write)
    write.add_argument("out", help="file to write, for example nl.route")
    add_task(write)
    add_facts(write, "kept in the file")
    write.add_argument("--decode_config", help="YAML file of decoding options to keep in the file")
    text = "store in 16 bits what leaves the best-path text of these files the same: head, adapters and the like"
    write.add_argument("--half_if_same_text", nargs="+", default=[], metavar="AUDIO", help=text)

    info = _action(actions, "info", run_info, "what route files hold", "s3router route info nl.route de.route")
    info.add_argument("files", nargs="+", metavar="FILE")

    diff = _action(
        actions, "diff", run_diff, "how much the masks of two routes agree", "s3router route diff nl.route de.route"
    )
    diff.add_argument("files", nargs=2, metavar="FILE")
    add_base(diff)

    example = "s3router route merge nl.route de.route --rule union --out germanic.route"
    merge = _action(actions, "merge", run_merge, "one route from the masks of several", example)
    merge.add_argument("files", nargs="+", metavar="FILE")
    text = "keep a weight that any route keeps, that all keep, or that most keep"
    merge.add_argument("--rule", choices=MERGE_RULES, required=True, help=text)
    merge.add_argument("--head", metavar="FILE", help="the route that all but the masks comes from; by default the first")
    merge.add_argument("--out", required=True, metavar="FILE", help="file to write")
    add_base(merge)

    example = "s3router route gather exp/*/nl.route ../de/exp/*/de.route --into routes"
    text = "copy routes of several languages into one folder, named by their languages"
    collect = _action(actions, "gather", run_gather, text, example)
    collect.add_argument("files", nargs="+", metavar="FILE")
    collect.add_argument("--into", required=True, metavar="DIR", help="folder of routes on one base")

    example = "s3router route verify nl.route --base"
    verify = _action(actions, "verify", run_verify, "check that files are whole, and fit their base", example)
    verify.add_argument("files", nargs="+", metavar="FILE")
    verify.add_argument("--base", action="store_true", help="load the base that each file names, and fit the route to it")
    add_base(verify)


def _action(actions: Any, name: str, run: Callable[[argparse.Namespace], None], text: str, example: str) -> Any:
    parser = actions.add_parser(
        name, help=text, description=f"Writes or reads route files: {text}.", epilog=f"example: {example}"
    )
    add_json(parser, "file")
    parser.set_defaults(run=run)
    return parser


def run_write(args: argparse.Namespace) -> None:
    """Write a route file and describe it."""
    from espnet_s3router.cli.quiet import quiet_imports
    from espnet_s3router.files import read_yaml
    from espnet_s3router.routes import describe

    with quiet_imports():
        from espnet_s3router.plugin.deployment.half import part_name
        from espnet_s3router.plugin.deployment.route import write_experiment

    metadata = facts_of(args)
    decoding = read_yaml(args.decode_config) if args.decode_config else {}
    audio = [audio_of(path) for path in args.half_if_same_text]
    file = write_experiment(
        args.train_config, args.model_file, args.out, task=args.task, metadata=metadata, decoding=decoding, same_text=audio
    )
    figures = describe(file)
    _print(args, figures, description(figures))
    whole = sorted({part_name(name) for name, tensor in file.tensors.items() if tensor.itemsize == 4})
    if audio and whole and not args.json:
        print(f"stored in 32 bits: {', '.join(whole)}. 16 bits would change the text, or cannot hold the values")


def run_info(args: argparse.Namespace) -> None:
    """Describe files."""
    from espnet_s3router.routes import describe, open_route

    for path in args.files:
        figures = describe(open_route(path))
        _print(args, figures, description(figures))


def run_diff(args: argparse.Namespace) -> None:
    """Compare the masks of two files."""
    from espnet_s3router.routes import difference

    figures = difference(*(_decoded(path, args) for path in args.files))
    _print(args, figures, comparison(figures))


def run_merge(args: argparse.Namespace) -> None:
    """Write the merged route and describe it."""
    from espnet_s3router.errors import InputError
    from espnet_s3router.routes import combine, describe, write_route

    if any(Path(path).resolve() == Path(args.out).resolve() for path in args.files):
        raise InputError(f"--out is {args.out}, one of the routes to merge, which it would replace. Choose another name")
    figures = describe(
        write_route(args.out, combine({path: _decoded(path, args) for path in args.files}, args.rule, args.head))
    )
    _print(args, figures, description(figures))


def run_gather(args: argparse.Namespace) -> None:
    """Copy the files and print the copies."""
    from espnet_s3router.routes import gather

    for path in gather(args.files, args.into):
        _print(args, {"file": str(path)}, str(path))


def run_verify(args: argparse.Namespace) -> None:
    """Check each file and print the result; InputError at the end if some are wrong."""
    from espnet_s3router.cli.quiet import quiet_imports
    from espnet_s3router.errors import InputError, raise_problems
    from espnet_s3router.routes import open_route

    problems = []
    for path in args.files:
        try:
            if args.base or source_of(args):
                with quiet_imports():
                    from espnet_s3router.plugin.deployment.route_model import load_model

                load_model(open_route(path), source_of(args))
            else:
                open_route(path).decode()
            _print(args, {"file": path, "ok": True}, f"{path}: ok")
        except InputError as error:
            problems.append(str(error))
            if args.json:
                print(json.dumps({"file": path, "ok": False, "error": str(error)}))
    raise_problems(
        problems, f"{len(args.files)} route files", "The others are whole" if len(args.files) > len(problems) else ""
    )


def _decoded(path: str, args: argparse.Namespace) -> Any:
    """The route in a file. The base is loaded if the masks need it."""
    from espnet_s3router.routes import open_route

    file = open_route(path)
    if not file.needs_base():
        return file.decode()
    from espnet_s3router.cli.quiet import quiet_imports

    with quiet_imports():
        from espnet_s3router.plugin.deployment.route_model import base_weights

    return file.decode(base_weights(file, source_of(args)))


def _print(args: argparse.Namespace, figures: dict[str, Any], text: str) -> None:
    print(json.dumps(figures) if args.json else text)
