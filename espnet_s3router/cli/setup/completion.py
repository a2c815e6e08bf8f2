"""``s3router completion …``: completion of commands, options and file names in a shell."""

import argparse
from collections.abc import Iterator
from typing import Any

SHELLS = ("bash", "zsh", "tcsh")


def add_to(commands: Any, whole: argparse.ArgumentParser) -> None:
    """Add the command to a parser's subparsers. ``whole``: the parser of all commands."""
    text = "print a script that completes commands in a shell"
    parser: argparse.ArgumentParser = commands.add_parser(
        "completion",
        help=text,
        description=f'Completion: {text}. In bash, put eval "$(s3router completion bash)" into ~/.bashrc.',
        epilog="example: s3router completion bash",
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    parser.set_defaults(run=lambda args: print(script(whole, args.shell)))


def script(whole: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell of ``SHELLS``. Arguments that take any text are completed as files."""
    import shtab

    for action in arguments(whole):
        if action.choices is None and action.nargs != 0 and action.type in (None, str):
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # read by shtab
    return shtab.complete(whole, shell=shell)


def arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All arguments of a parser and of its commands, without the commands."""
    for action in parser._actions:  # argparse has no public list of them
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from arguments(command)
        else:
            yield action
