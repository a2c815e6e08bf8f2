"""The commands of the documentation run, page by page, in a folder that holds what they name."""

import glob
import importlib
import os
import re
import shlex
import shutil
import subprocess

import pytest
import soundfile
from toy_microphone import plug_in

from espnet_s3router.cli.main import main
from tests.cli.test_main import commands
from tests.docs import workspace
from tests.docs.test_site import BLOCK, PAGES, ROOT
from tests.plugin.conftest import corpus, trained, write_experiment  # noqa: F401  fixtures
from tests.zoo.test_upload import hub  # noqa: F401  a fixture

ONLY_PARSED = {
    "s3router doctor --upstream wav2vec2_base_960": "downloads an upstream of 360 MB",
    "s3router pack routes europe.zip nl.route de.route --base name": "its base is Whisper of the hub",
    "s3router export small": "tests/plugin/onnx_export/test_shrunk.py runs it",
    "python -m espnet_s3router.data tasks": "tests/data/test_tasks.py runs it",
    "python -m local.": "reads a corpus that users get themselves",
    "python -m espnet_s3router.bin.asr_": "ends in …; tests/recipes train and decode with both",
    "./run": "trains for minutes to hours; test_quickstart.py and tests/recipes run the stages on toys",
    "pip install": "installs packages; tests/smoke.sh installs the wheel",
    "python3 -m venv": "the same",
}
"""Beginnings of commands that are not run here, with the reasons."""
BEFORE = {
    "s3router pack experiment small.zip exp/asr_hj_small": workspace.smaller_model,
    "s3router upload europe.zip jane/routes-of-europe --revision": workspace.known_licence,
    "s3router upload europe.zip jane/routes-of-europe --dry_run": workspace.known_licence,
    "s3router transcribe --model exp/packs/RUN.zip": workspace.best_pack,
    "s3router export --bank routes": workspace.only_languages,
    "s3router language exp/asr/config.yaml": workspace.joint_run,
    "s3router route gather": workspace.routes_of_runs,
}
"""What lies in the folder before a command, beside what the commands above it left."""
PYTHON = re.compile(r"python -m (\S+) ")


def lines_of(page):
    """The command lines in the code blocks of a page, without comments and variables before them."""
    for block in BLOCK.findall(page.read_text("utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"^(\w+=\S* )+", "", re.sub(r" #.*$", "", line)).strip()
            if re.match(r"(s3router|python3?|pip|sed|\./\w+\.sh) ", f"{line} "):
                yield line


def shape(line):
    """What a command line asks for, without names of files: the command and its options."""
    words = line.split()
    known = {word for command, _ in commands() for word in command}
    return tuple(word for word in words[1:3] if word in known), frozenset(word for word in words if word.startswith("--"))


def examples():
    """The examples that ``--help`` shows, but for those whose command and options a page has, too."""
    shown = {shape(line) for page in PAGES for line in lines_of(page)}
    texts = (one.epilog.removeprefix("example: ").partition(" | ")[0] for _, one in commands())
    return sorted(text for text in texts if shape(text) not in shown)


LINES = {str(page.relative_to(ROOT)): list(lines_of(page)) for page in PAGES} | {"--help": examples()}
"""Page -> its commands."""


def only_parsed(line):
    return any(line.startswith(beginning) for beginning in ONLY_PARSED)


RUN = {page: [line for line in lines if not only_parsed(line)] for page, lines in LINES.items()}


@pytest.fixture(scope="module")
def template(trained, write_experiment, corpus, tmp_path_factory):  # noqa: F811
    """A filled folder, to copy."""
    folder = tmp_path_factory.mktemp("workspace") / "made"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        workspace.build(folder, trained, write_experiment, corpus)
    return folder


def words_of(line):
    """The words of a command line as a shell gives them to the command."""
    words = []
    for word in shlex.split(line):
        found = sorted(glob.glob(os.path.expanduser(word))) if "*" in word else [os.path.expanduser(word)]
        words += found or [word]
    return words


def run(line):
    """Run one command in this process, or sed in a process of its own. Returns its exit status."""
    words = words_of(line)
    if words[0] == "s3router":
        return main(words[1:])
    if found := PYTHON.match(line):
        folder = importlib.import_module(found[1])
        module = importlib.import_module(f"{found[1]}.__main__") if hasattr(folder, "__path__") else folder
        return module.main(words[3:])
    return subprocess.run(words, check=False).returncode


@pytest.mark.filterwarnings("ignore")  # of ESPnet and s3prl, in this process
@pytest.mark.parametrize("page", [page for page, lines in RUN.items() if lines])
def test_commands_run(page, template, hub, tmp_path, monkeypatch, capsys):  # noqa: F811
    shutil.copytree(template, tmp_path / "made", symlinks=True)
    here = tmp_path / "made/here"
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here.parent))  # of ~/recordings
    samples, rate = soundfile.read("a.wav", dtype="float32")
    plug_in(monkeypatch, samples, rate=rate)
    for line in RUN[page]:
        for beginning, prepare in BEFORE.items():
            if line.startswith(beginning):
                prepare(here)
        status = run(line)
        printed = capsys.readouterr()
        assert status == 0, f"{page}: {line}\n{printed.out}\n{printed.err}"
        assert printed.out.strip() or line.startswith("sed "), line


def test_every_exception_is_needed():
    """A beginning that no command has would be a hole in this test."""
    lines = [line for lines in LINES.values() for line in lines]
    for beginning in [*ONLY_PARSED, *BEFORE]:
        assert any(line.startswith(beginning) for line in lines), beginning
    assert sum(map(len, RUN.values())) > 50
    assert sum(line.startswith("s3router") for line in lines if only_parsed(line)) <= 3
