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


def test_an_unknown_command_names_the_known_ones(capsys):
    with pytest.raises(SystemExit) as end:
        main(["bakes"])
    assert end.value.code == 2
    assert "choose from" in capsys.readouterr().err
