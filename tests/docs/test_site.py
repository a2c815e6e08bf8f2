"""The documentation site builds without a warning; its commands exist, and its figures stand on the pages that it names."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_s3router.cli.main import parser
from espnet_s3router.methods import METHODS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), ROOT / "README.md", *ROOT.glob("egs2/s3router/*/*/README.md")])
BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBERS = re.compile(r"[-+]?\d+\.\d+ \[[-+]?\d+\.\d+, [-+]?\d+\.\d+\]")
"""A figure with its interval."""


def test_the_site_builds_without_warnings(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    made = {path.parent.name for path in (tmp_path / "site").glob("*/index.html")}
    assert {page.stem for page in DOCS.glob("*.md")} - {"index"} <= made
    python, commands = ((tmp_path / "site" / name / "index.html").read_text("utf-8") for name in ("python", "commands"))
    assert "from_pretrained" in python and "set_target_lang" in python
    assert "usage: s3router pack routes" in commands and "&lt;!--" not in commands
    methods = (tmp_path / "site/methods/index.html").read_text("utf-8")
    assert "movement pruning" in methods and methods.count("Options of ") == len(METHODS) and "&lt;!--" not in methods
    method = (tmp_path / "site/method/index.html").read_text("utf-8")
    assert "<code>espnet_s3router/masks/select.py</code>" in method  # a file outside the site


def commands_of(page):
    """The lines of code blocks that call ``s3router``, without comments and variables before them."""
    for block in BLOCK.findall(page.read_text("utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"(\w+=\S* )*s3router ", line):
                words = [word for word in shlex.split(line, comments=True) if word != "…"]
                yield words[words.index("s3router") + 1 :]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_exists(page):
    for words in commands_of(page):
        if "|" in words:
            words = words[: words.index("|")]
        try:
            parser().parse_args(words)
        except SystemExit as end:
            pytest.fail(f"{page}: s3router {shlex.join(words)} ends with status {end.code}")


def test_the_pages_have_commands():
    assert sum(len(list(commands_of(page))) for page in PAGES) > 30


def options_of(recipe):
    """The options of a recipe: those of its stages, and those that its run.sh and what it sources declare."""
    from espnet_s3router.experiments.options import Options
    from espnet_s3router.pretraining.options import PretrainingOptions
    from espnet_s3router.text_intents.options import TextOptions

    run = (recipe / "run.sh").read_text("utf-8")
    stages = {"ssl1/ssl.sh": PretrainingOptions, "text1/text.sh": TextOptions}
    options = next((made for script, made in stages.items() if script in run), Options)
    sourced = [
        path for path in re.findall(r"^\. (\.\./\S+\.sh)$", run, re.MULTILINE) if "TEMPLATE" not in path or "slu.sh" in path
    ]
    scripts = "\n".join([run, *((recipe / path).read_text("utf-8") for path in sourced)])
    return {*options.on_command_line(), *re.findall(r"^option (\w+) ", scripts, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_of_recipes_exist(page):
    """Every option after ./run.sh is one of the recipe; in docs, of the recipe that the block enters, or of the main job."""
    for block in BLOCK.findall(page.read_text("utf-8")):
        recipe = page.parent if page.parent.joinpath("run.sh").is_file() else ROOT / "egs2/s3router/asterisk/asr1"
        whole = re.sub(r'"[^"]*"', lambda quoted: quoted[0].replace("\n", " "), block.replace("\\\n", " "))
        for line in whole.splitlines():
            if entered := re.match(r"cd (egs2/s3router/\S+)", line):
                recipe = ROOT / entered[1]
            if found := re.match(r"(?:\w+=\S* )*\./run\.sh (.*)", line):
                known = options_of(recipe)
                words = shlex.split(found[1], comments=True)
                used = {word[2:].replace("-", "_") for word in words if re.fullmatch(r"--[\w-]+", word)}
                assert used <= known, f"{page.relative_to(ROOT)}: {used - known}"


def claims():
    """(figures, page that the row names) of each claim."""
    text = (DOCS / "claims.md").read_text("utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ") and "](" in line]
    return [(NUMBERS.findall(" ".join(row[2:4])), re.search(r"\]\(([^)]+)\)", row[4])[1]) for row in rows]


def stands_on(figure, page):
    """True if a figure with its interval or seed is in the text of a page, as an error rate or a relative difference."""
    value, bounds = figure.split(" ", 1)
    return re.search(rf"{re.escape(value)} (% relative [\w ]+ )?{re.escape(bounds)}", page)


def test_every_figure_of_a_claim_stands_on_its_page():
    rows = claims()
    assert len(rows) >= 7
    for figures, link in rows:
        page = (DOCS / link).read_text("utf-8")
        assert figures and Path(link).name.startswith("RESULTS")
        for figure in figures:
            assert stands_on(figure, page), f"claims.md: {figure} is not on {link}"


def test_every_claim_has_a_command_of_its_page():
    text = (DOCS / "claims.md").read_text("utf-8")
    for line in text.splitlines():
        for link, command in re.findall(r"\]\(([^)]+)\): `([^`]+)`", line):
            assert command in (DOCS / link).read_text("utf-8"), f"claims.md: {command}"
