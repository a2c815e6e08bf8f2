"""Completion in a shell, asked of bash as it asks on the key TAB."""

import shutil
import subprocess

import pytest

from espnet_s3router.cli.main import main, parser
from espnet_s3router.cli.setup.completion import SHELLS, arguments

ASK = """
source "$1"
COMP_WORDS=(s3router "${@:2}") COMP_CWORD=$(($# - 1))
_shtab_s3router
printf "%s\\n" "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def offered(tmp_path_factory):
    """Function of the words typed so far, the last one unfinished: what bash offers."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "model.pth").touch()
    script = folder / "script"

    def ask(capsys, *words):
        assert main(["completion", "bash"]) == 0
        script.write_text(capsys.readouterr().out, encoding="utf-8")
        command = ["bash", "-c", ASK, "bash", script, *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0 and not done.stderr, done.stderr
        return done.stdout.split()

    return ask


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ba",), ["bake", "bank"]),
        (("route", "ver"), ["verify"]),
        (("transcribe", "--ba"), ["--bank"]),
        (("count", "mod"), ["model.pth"]),
        (("bake", "mod"), ["model.pth"]),
        (("completion", "t"), ["tcsh"]),
    ],
)
def test_bash_offers(offered, capsys, words, expected):
    assert offered(capsys, *words) == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_script_is_valid(tmp_path, capsys, shell):
    assert main(["completion", shell]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out, encoding="utf-8")
    if shutil.which(shell):
        subprocess.run([shell, "-n", tmp_path / "script"], check=True, timeout=30)


def test_all_arguments_are_found():
    names = {option for action in arguments(parser()) for option in action.option_strings}
    assert {"--help", "--bank", "--task", "--json"} <= names
