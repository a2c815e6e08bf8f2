"""The parts that every results page has: tables, comparisons and environment, as Markdown and as plain text.

A page is made from runs and a few choices. Both are kept in ``results/counts/PAGE.json.gz`` beside the page, so that
``remake`` can make the page again without the experiment folders.
"""

import datetime
import gzip
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from espnet_s3router.files import git_commit, write_atomic
from espnet_s3router.results.bootstrap import Interval
from espnet_s3router.results.rows import ResultRow
from espnet_s3router.results.scored_runs import ScoredRun
from espnet_s3router.results.tables import NOTHING, Table
from espnet_s3router.text_files import read_text


@dataclass(frozen=True, kw_only=True)
class Page:
    """The choices behind a page. With the runs they determine the page. The fields can be written as JSON."""

    dev: Sequence[str]
    """datasets on which variants are chosen, pooled"""
    test: Sequence[str]
    """datasets on which methods are compared, pooled"""
    unseen: Sequence[str] | None = None
    """test utterances whose texts do not occur in training"""
    speakers: int | None = None
    """number of speakers in ``test``; None if not known"""
    corpus: str = ""
    """release of the corpus, where its data directories tell it"""

    def text(self, runs: Sequence[ScoredRun], environment: Mapping[str, str], folder: Path) -> str:
        """The page as Markdown. ``folder``: where the page lies; its row files are relative to it."""
        raise NotImplementedError

    def measured(self, runs: Iterable[ScoredRun]) -> list[ResultRow]:
        """Rows of the runs, with those of the unseen utterances."""
        return [row for run in runs for row in run.rows(self.unseen or ())]

    def size_note(self, runs: Iterable[ScoredRun]) -> str:
        """For example ``; test_en: 98 utterances of 1 speaker``, and the corpus. Empty if neither is known."""
        corpus = f"; {self.corpus}" if self.corpus else ""
        if self.speakers is None:
            return corpus
        keys = {(name, key) for run in runs for name in self.test for c in run.counts.get(name, {}).values() for key in c}
        speakers = f"{self.speakers} speaker{'s' * (self.speakers != 1)}"
        return f"; {'+'.join(self.test)}: {len(keys)} utterances of {speakers}{corpus}"


@dataclass(frozen=True)
class Section:
    """One section of a page. ``tables``: caption -> header and rows."""

    title: Sequence[str]
    tables: Mapping[str, Table]
    comparisons: Sequence[str] = ()
    appendix: Sequence[str] = ()
    """further lines of Markdown, which are not printed"""


def markdown_table(table: Table, pad: str = "") -> list[str]:
    """Lines of a Markdown table. ``pad`` stands on both sides of every cell."""
    head, *rows = (f"|{pad}" + f"{pad}|{pad}".join(cells) + f"{pad}|" for cells in table)
    return [head, "|---" * len(table[0]) + "|", *rows]


def as_markdown(sections: Iterable[Section], environment: Mapping[str, str], runs: Iterable[ScoredRun]) -> str:
    """The text of RESULTS.md. The commands of all its runs are listed, then the one that made the page."""
    commands = list(dict.fromkeys([*(run.command for run in runs if run.command), environment["command"]]))
    named = {("commands" if len(commands) > 1 else "command"): "`; `".join(commands)}
    facts = {name: value for name, value in environment.items() if name != "command"} | named
    lines = ["# RESULTS", "## Environments", *(f"- {name}: `{value}`" for name, value in facts.items())]
    for section in sections:
        lines += ["", f"## {' · '.join(section.title)}"]
        for caption, table in section.tables.items():
            lines += ["", caption.replace("* ", "\\* ", 1), "", *markdown_table(table)]
        lines += ["", *(f"- {line}" for line in section.comparisons), *section.appendix]
    return "\n".join(lines) + "\n"


def print_sections(sections: Iterable[Section], file=None) -> None:
    """Print tables and comparisons as plain text with aligned columns. The last column of commits is left out."""
    for section in sections:
        print(f"\n{' · '.join(section.title)}", file=file)
        for caption, table in section.tables.items():
            shown = [row[: len(row) - ("commit" in table[0])] for row in table]
            widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
            print(f"\n{caption}", file=file)
            for row in shown:
                cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                print("  ".join(cells).rstrip(), file=file)
        print("", *section.comparisons, sep="\n", file=file)


def percent(interval: Interval | None) -> str:
    """For example 33.5 [32.9, 34.2]."""
    if interval is None:
        return NOTHING
    return f"{100 * interval.value:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def environment_of(command: str) -> dict[str, str]:
    """Date, versions, commit and command, as in ESPnet's RESULTS.md. Heavy packages are not imported."""

    def version(package: str) -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "not installed"

    return {
        "date": datetime.datetime.now().astimezone().strftime("%a %b %d %H:%M:%S %Z %Y"),
        "python version": platform.python_version(),
        "espnet version": f"espnet {version('espnet')}",
        "pytorch version": f"pytorch {version('torch')}",
        "Git hash": git_commit(),
        "command": command,
    }


def count_speakers(dump: str | Path, datasets: Sequence[str]) -> int | None:
    """Number of speakers in the pooled datasets, from ``<dump>/<dataset>/utt2spk``; None if a file is missing."""
    files = [Path(dump) / name / "utt2spk" for name in datasets]
    if not all(file.is_file() for file in files):
        return None
    return len({speaker for file in files for speaker in read_text(file).values()})


def languages_of(dump: str | Path, datasets: Sequence[str]) -> dict[str, list[str]]:
    """Language -> utterances, from ``<dump>/<dataset>/utt2category`` of datasets that hold several languages."""
    found: dict[str, list[str]] = {}
    for file in (Path(dump) / name / "utt2category" for name in datasets):
        for key, language in read_text(file).items() if file.is_file() else ():
            found.setdefault(language, []).append(key)
    return dict(sorted(found.items()))


def corpus_of(data: str | Path, datasets: Iterable[str]) -> str:
    """The releases of datasets, from ``release NAME`` in ``<data>/<dataset>/corpus.txt``; empty without such files."""
    files = [Path(data) / name / "corpus.txt" for name in datasets]
    return ", ".join(sorted({read_text(file).get("release", "") for file in files if file.is_file()} - {""}))


def body(text: str) -> str:
    """A page without its head, which says when, where and how the page was made."""
    return text.partition("\n\n## ")[2]


def counts_file(page: Path) -> Path:
    """The file beside a page from which the page can be made again."""
    return page.parent / "results/counts" / f"{page.stem}.json.gz"


def write_page(path: str | Path, text: str, page: Page, runs: Iterable[ScoredRun], environment: Mapping[str, str]) -> bool:
    """Write a page and its counts file. Nothing is written if both are there and the page has the same body already."""
    path = Path(path)
    counts = counts_file(path)
    if path.exists() and counts.exists() and body(path.read_text(encoding="utf-8")) == body(text):
        return False
    stored_runs = [asdict(run) | {"path": run.path.name} for run in runs]
    source = {"kind": type(page).__name__, "page": asdict(page), "environment": environment, "runs": stored_runs}
    stored = json.dumps(source, ensure_ascii=False, separators=(",", ":"))
    write_atomic(counts, gzip.compress(stored.encode("utf-8"), mtime=0))
    write_atomic(path, text)
    return True


def publish(
    sections: list[Section], page: Page, runs: list[ScoredRun], numbers: Path, results_md: str | Path | None, command: str
) -> None:
    """Print the sections. Write RESULTS.md if a file is given. ``numbers``: the file of the rows, which is named."""
    print_sections(sections)
    print(f"\nnumbers: {numbers}")
    if results_md:
        environment = environment_of(command)
        write_page(results_md, as_markdown(sections, environment, runs), page, runs, environment)
        print(f"results: {results_md}")
