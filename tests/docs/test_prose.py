"""Pages for readers: sentences are short, links lead to files that exist, and the README is short."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATTERNS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "docs/*.ipynb",
    "benchmarks/*.md",
    "egs2/s3router/*/*/README.md",
    "egs2/s3router/*/*/NOTES.md",
    "egs2/s3router/*/*/conf/*.md",
    "espnet_s3router/upstreams/weights/*/MODEL_CARD.md",
)
PAGES = sorted(str(path.relative_to(ROOT)) for pattern in PATTERNS for path in ROOT.glob(pattern))
WORDS, README_LINES = 30, 70

CODE_BLOCK = re.compile(r"^ *```.*?^ *```[^\n]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")
NEW_UNIT = re.compile(r"^\s*(#+|[-*+]|\d+\.)\s+")


def read(page: str) -> str:
    """The text of a page; of a notebook, its cells of Markdown."""
    text = (ROOT / page).read_text("utf-8")
    if not page.endswith(".ipynb"):
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


def units(page: str) -> list[str]:
    """Headings, list items and paragraphs of a page, one line each; code blocks and tables are left out."""
    found: list[str] = []
    open_unit = False
    for line in CODE_BLOCK.sub("", page).splitlines():
        if not line.strip() or line.lstrip().startswith("|"):
            open_unit = False
        elif open_unit and not NEW_UNIT.match(line):
            found[-1] += " " + line.strip()
        else:
            found.append(NEW_UNIT.sub("", line, count=1).strip())
            open_unit = not line.startswith("#")
    return found


def sentences(unit: str) -> list[str]:
    """Sentences of a unit, split after . ! ? : and ; where a space follows. Code in backticks counts as one word."""
    plain = LINK.sub(r"\1", re.sub(r"`[^`]*`", "code", unit))
    return re.split(r"(?<=[.!?:;])[*_)\"']*\s+", plain)


def words(sentence: str) -> int:
    """Words of a sentence; a lone dash or dot is none."""
    return len(re.findall(r"\S*\w\S*", sentence))


def anchors(page: str) -> set[str]:
    """Names under which GitHub links the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", CODE_BLOCK.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_units_and_sentences():
    page = (
        "# A title\nText goes on\nhere. **More** of `a b c`: 0.5 is one word; [a link](to.md).\n\n"
        "| a | table |\n|---|---|\n\n```\ncode. code.\n```\n- an item\n  of two lines\n- another\n"
    )
    text = "Text goes on here. **More** of `a b c`: 0.5 is one word; [a link](to.md)."
    assert units("**A claim.** Two words.") == ["**A claim.** Two words."]
    assert units(page) == ["A title", text, "an item of two lines", "another"]
    assert sentences(text) == ["Text goes on here.", "**More** of code:", "0.5 is one word;", "a link."]
    assert anchors(page) == {"a-title"}
    assert [words(sentence) for sentence in sentences("A b – c. D `e f` g.")] == [3, 3]


@pytest.mark.parametrize("page", PAGES)
def test_sentences_are_short(page):
    text = read(page)
    long = [(words(s), s) for unit in units(text) for s in sentences(unit) if words(s) > WORDS]
    assert not long, f"{page}: more than {WORDS} words: {long}"


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_to_files_and_headings(page):
    targets = [target for _, target in LINK.findall(CODE_BLOCK.sub("", read(page)))]
    for target in targets:
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            file = (ROOT / page).parent / path if path else ROOT / page
            assert file.exists(), f"{page}: no such file: {target}"
            assert not anchor or anchor in anchors(file.read_text("utf-8")), f"{page}: no such heading: {target}"


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= README_LINES
