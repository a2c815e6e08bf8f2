"""Pages of the documentation are complete and true: methods and their figures, recipes, and messages of errors."""

import ast
import re
from pathlib import Path

import pytest

from espnet_s3router.methods import METHODS, resolve
from tests.docs.test_site import BLOCK, DOCS, NUMBERS, ROOT, stands_on

LINKED = re.compile(r"\]\((\.\./[^)#]+)")


def sections():
    """Name of a method -> its section of methods.md."""
    parts = re.split(r"^### ", (DOCS / "methods.md").read_text("utf-8"), flags=re.MULTILINE)[1:]
    return {part.split("\n", 1)[0]: re.split(r"^## ", part, flags=re.MULTILINE)[0] for part in parts}


def test_every_method_has_a_section():
    assert sorted(sections()) == sorted(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_a_block_a_command_and_its_figures(name, hooks):
    section = sections()[name]
    assert section.count(f"<!-- method: {name} -->") == 1
    assert resolve(hooks.example(name))[0] == name
    (block,) = BLOCK.findall(section)
    entered = re.match(r"cd (egs2/s3router/\S+)\n", block)[1]
    assert (ROOT / entered / "run.sh").is_file() and "\n./run.sh " in block
    measured = section.partition("Measured")[2]
    assert bool(measured) != ("Not measured here yet." in section)
    if measured:
        page = (DOCS / LINKED.search(measured)[1]).read_text("utf-8")
        figures = NUMBERS.findall(measured) or re.findall(r"[\d.]+ \(seed 0\)", measured)
        assert figures
        for figure in figures:
            assert stands_on(figure, page), f"methods.md: {figure}"


def test_figures_of_upstreams_stand_on_their_page():
    text = (DOCS / "upstreams.md").read_text("utf-8")
    page = (ROOT / "egs2/s3router/asterisk/asr1/README.md").read_text("utf-8")
    figures = NUMBERS.findall(text)
    assert len(figures) == 6 and all(figure in page for figure in figures)


def test_every_recipe_is_listed_once():
    text = (DOCS / "recipes.md").read_text("utf-8")
    recipes = [path.parent for path in [*ROOT.glob("egs2/s3router/*/*/run.sh"), *ROOT.glob("egs3/s3router/*/*/run.py")]]
    assert len(recipes) > 15
    for recipe in recipes:
        assert text.count(f"](../{recipe.relative_to(ROOT)}/README.md)") == 1, recipe


def literals():
    """The texts in the code, one for each string. Gaps stand where values are put in."""
    for path in [*ROOT.glob("espnet_s3router/**/*.py"), *ROOT.glob("egs2/s3router/TEMPLATE/**/*.sh")]:
        text = path.read_text("utf-8")
        if path.suffix == ".sh":
            yield text
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.JoinedStr):
                yield "…".join(part.value for part in node.values if isinstance(part, ast.Constant))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def messages():
    """The messages of problems.md in backticks, but for those of ESPnet."""
    for line in (DOCS / "problems.md").read_text("utf-8").splitlines():
        cell = line.split(" | ")[0].removeprefix("| ")
        if line.startswith("| ") and cell != "message" and "(of ESPnet)" not in cell:
            yield from (doubled or single for doubled, single in re.findall(r"``(.+?)``|`([^`]+)`", cell))


def test_every_message_of_the_page_is_in_the_code():
    texts = list(dict.fromkeys(literals()))
    known = list(messages())
    assert len(known) > 60
    parts = {message: [part.strip() for part in message.split("…") if part.strip()] for message in known}
    unknown = [message for message in known if not any(all(part in text for part in parts[message]) for text in texts)]
    assert not unknown, f"problems.md has messages that no command gives: {unknown}"


@pytest.fixture(scope="module")
def hooks():
    """docs/site_hooks.py as a module."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("site_hooks", Path(DOCS) / "site_hooks.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
