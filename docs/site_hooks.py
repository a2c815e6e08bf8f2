"""Hooks of mkdocs: links that leave the folder of the pages, and the reference of the commands."""

import argparse
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((\.\.?/[^)#\s]*)(#[^)\s]*)?\)")
COMMANDS = "<!-- commands -->"


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

    return LINK.sub(place, markdown).replace(COMMANDS, commands())


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
