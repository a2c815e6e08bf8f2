"""The command ``s3router`` starts fast: its help loads no heavy library."""

import subprocess
import sys

import pytest

from espnet_s3router.cli.main import main

CODE = """
import sys
from espnet_s3router.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert end.code == 0
heavy = {"torch", "numpy", "yaml", "espnet2", "transformers"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("words", [("--help",), ("bake", "--help"), ("route", "write", "--help")])
def test_help_loads_no_heavy_library(words):
    done = subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: s3router")


def commands():
    """The words of every command, with those of its actions."""
    import argparse

    from espnet_s3router.cli import main as module

    found = []
    parser = module.parser()
    stack = [((), parser)]
    while stack:
        words, current = stack.pop()
        groups = [action for action in current._actions if isinstance(action, argparse._SubParsersAction)]
        stack += [((*words, name), sub) for group in groups for name, sub in group.choices.items()]
        found += [(words, current)] if not groups else []
    return found


@pytest.mark.parametrize(("words", "parser"), commands(), ids=lambda value: " ".join(value) if type(value) is tuple else "")
def test_every_help_has_an_example_that_parses(words, parser):
    """Its words are those of this command."""
    import shlex

    from espnet_s3router.cli.main import parser as whole

    assert parser.epilog and parser.epilog.startswith("example: s3router " + " ".join(words))
    example = shlex.split(parser.epilog.removeprefix("example: ").partition(" | ")[0])
    whole().parse_args(example[1:])


def test_an_unknown_command_names_the_known_ones(capsys):
    with pytest.raises(SystemExit) as end:
        main(["bakes"])
    assert end.value.code == 2
    assert "choose from" in capsys.readouterr().err
