"""Hooks of mkdocs: links that leave the folder of the pages, the reference of the commands, and facts of each method."""

import argparse
import re
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parent
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((\.\.?/[^)#\s]*)(#[^)\s]*)?\)")
COMMANDS = "<!-- commands -->"
METHOD = re.compile(r"<!-- method: (\w+) -->")
ROWS = (
    "asterisk/asr1/conf/methods.yaml",
    "asterisk/asr1/conf/methods/joint.yaml",
    "asterisk/prune1/conf/methods.yaml",
    "asterisk/hj1/conf/rows.yaml",
)
"""Files of recipes whose rows are the examples of methods; the first row of a method counts."""
ADDED = {"start": "exp/asr_finetune_seed0/valid.cer_ctc.ave.pth", "updates": 880}
"""Options that recipes add to these rows: the model that pruning starts from, and the updates of the run."""


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links to files outside this folder lead to the repository, or become their path if ``repo_url`` is not set."""
    folder = (DOCS / page.file.src_uri).parent

    def place(found: re.Match[str]) -> str:
        target = (folder / found[2]).resolve()
        if target.is_relative_to(DOCS):
            return found[0]
        path = target.relative_to(DOCS.parent).as_posix()
        if config.repo_url:
            return f"[{found[1]}]({config.repo_url.rstrip('/')}/blob/main/{path}{found[3] or ''})"
        return found[1] if found[1].strip("`") == path else f"{found[1]} (`{path}`)"

    placed = LINK.sub(place, markdown).replace(COMMANDS, commands())
    return METHOD.sub(lambda found: method(found[1]), placed)


def commands() -> str:
    """The help of every command of ``s3router``."""
    from espnet_s3router.cli.main import parser

    return "\n\n".join(_described(" ".join(words), one) for words, one in _leaves(parser(), ("s3router",)))


def _leaves(
    parser: argparse.ArgumentParser, words: tuple[str, ...]
) -> list[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        return [(words, parser)]
    return [leaf for group in groups for name, sub in group.choices.items() for leaf in _leaves(sub, (*words, name))]


def _described(name: str, parser: argparse.ArgumentParser) -> str:
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=110)
    return f"## {name}\n\n```text\n{parser.format_help().strip()}\n```"


def method(name: str) -> str:
    """The source of a method, its block in the configuration, and its options."""
    from espnet_s3router.cli.methods import options_of
    from espnet_s3router.methods import METHODS

    source = METHODS[name].source
    linked = f"Source: [{source.removeprefix('https://')}]({source})" if source.startswith("https") else f"A {source}."
    rows = [
        f"    | `{option}` | `{default}` | {' '.join(meaning.split())} |"
        for option, (default, meaning) in options_of(METHODS[name].config).items()
    ]
    table = ["    | option | default | meaning |", "    |---|---|---|", *rows] if rows else ["    It has none."]
    block = yaml.safe_dump({"frontend_conf": {"mask_conf": example(name)}}, sort_keys=False)
    return "\n".join([f"{linked}\n\n```yaml\n{block}```\n", f'??? note "Options of {name}"\n', *table])


def example(name: str) -> dict[str, Any]:
    """The ``mask_conf`` of the first row of a recipe that has this method, with what recipes add to it."""
    from espnet_s3router.methods import METHODS

    for file in ROWS:
        rows = yaml.safe_load((DOCS.parent / "egs2/s3router" / file).read_text("utf-8"))
        for row in rows.values():
            if row["frontend_conf"]["mask_conf"]["method"] == name:
                config = row["frontend_conf"]["mask_conf"]
                known = METHODS[name].config.__dataclass_fields__
                return config | {key: value for key, value in ADDED.items() if key in known and key not in config}
    raise LookupError(f"no row of {', '.join(ROWS)} has method {name}")
