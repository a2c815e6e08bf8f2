"""The page of two tasks: what is forgotten of one when the other is learned after it, and the masks of one on the other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_s3router.results.comparisons import Comparison, compare, corrected
from espnet_s3router.results.pages.document import Section, percent, publish
from espnet_s3router.results.pages.transfer import TransferPage
from espnet_s3router.results.rows import put_rows
from espnet_s3router.results.scored_runs import ScoredRun, System, metrics_of, systems
from espnet_s3router.results.tables import NOTHING, Table
from espnet_s3router.text_format import scaled

Changes = dict[tuple[str, str, str], Comparison]
"""(what is compared, with what, metric) -> comparison"""
SAME_RUNS = ("sparsity", "lr", "targets", "init")
"""Columns that tell the variants of a method apart, before and after another task."""


def after(row: str, first: str) -> str:
    """The method of runs that start from the weights that another task left, as rows and pages name it."""
    return f"{row}_after_{first}"


def then(row: str, second: str) -> str:
    """The method of runs that are scored again after another task."""
    return f"{row}_then_{second}"


@dataclass(frozen=True, kw_only=True)
class TasksPage(TransferPage):
    """The page of two tasks. ``languages``: their names and training sets."""

    kind: str = "task"
    weights_row: str
    """the method whose weights train"""
    changed: Mapping[str, int] = field(default_factory=dict)
    """experiment folder of a run that is scored again -> bytes of the shared weights that the other task changed"""

    def sections(self, runs: Sequence[ScoredRun]) -> list[Section]:
        """What is forgotten, how the second task does, then the sections of the transfer matrix."""
        matrix = [section for section in super().sections(runs) if _has_pairs(section)]
        return [*self._one_after_the_other(systems(runs), self.size_note(runs)), *matrix]

    def _one_after_the_other(self, group: Sequence[System], note: str) -> list[Section]:
        forgotten, changes = self._forgotten(group)
        learned, more = self._learned(group)
        lines = [change.line(*names) for names, change in corrected(changes | more).items()]
        tables = {
            f"The first task on test in %, before and after the second one was learned on its upstream{note}": forgotten,
            "The second task on test in %, from the weights of the upstream and from those that the first one left": learned,
        }
        tables = {caption: table for caption, table in tables.items() if len(table) > 1}
        return [Section([*group[0].place[:2], "one task after the other"], tables, lines)] if tables else []

    def _forgotten(self, group: Sequence[System]) -> tuple[Table, Changes]:
        rows = [["method", "sparsity", "task", "metric", "before", "after", "errors, relative %", "weights changed"]]
        changes = {}
        for row in (self.weights_row, self.row):
            for first, second in self._orders():
                for own, later in self._pairs(group, first, row, then(row, second)):
                    metric, rates, change = self._compared(own, later)
                    bytes_changed = [self.changed[run.path.name] for run in later.runs if run.path.name in self.changed]
                    size = f"{scaled(max(bytes_changed))}B" if bytes_changed else NOTHING
                    rows.append([row, _sparsity(own), f"{first}, then {second}", metric.upper(), *rates, size])
                    if change:
                        changes[f"{first} after {second} by {row}", "before", metric] = change
        return rows, changes

    def _learned(self, group: Sequence[System]) -> tuple[Table, Changes]:
        rows = [["method", "task", "metric", "from the upstream", "from the first task", "errors, relative %"]]
        changes = {}
        for first, second in self._orders():
            for own, later in self._pairs(group, second, self.weights_row, after(self.weights_row, first)):
                metric, rates, change = self._compared(own, later)
                rows.append([self.weights_row, f"{second} after {first}", metric.upper(), *rates])
                if change:
                    changes[f"{second} from the weights of {first}", "from the upstream", metric] = change
        return rows, changes

    def _compared(self, own: System, later: System) -> tuple[str, list[str], Comparison | None]:
        """(metric, cells with both rates and their relative difference, comparison) of a task before and after another."""
        metric, test = metrics_of(own.runs)[0], self._test(own)
        change = compare(later, own, test, metric)
        rates = [percent(system.interval(test, metric)) for system in (own, later)]
        return metric, [*rates, f"{100 * change.difference.value:+.1f}" if change else NOTHING], change

    def _orders(self) -> Iterator[tuple[str, str]]:
        return ((first, second) for first in self.languages for second in self.languages if first != second)

    def _pairs(self, group: Sequence[System], task: str, own: str, other: str) -> list[tuple[System, System]]:
        """The systems of a task by two methods that agree in all else, and were scored on its test sets."""
        here = [system for system in group if system.info["split"] == self.languages[task]]
        here = [system for system in here if self._test(system)]
        pairs = ((a, b) for a in here for b in here if (a.info["method"], b.info["method"]) == (own, other))
        return [(a, b) for a, b in pairs if all(a.info[key] == b.info[key] for key in SAME_RUNS)]

    def _test(self, system: System) -> list[str]:
        return [name for name in self.test if all(name in run.counts for run in system.runs)]


def _has_pairs(section: Section) -> bool:
    """True if a transfer matrix has more than own masks."""
    return any("(" in cell for table in section.tables.values() for row in table[1:] for cell in row)


def _sparsity(system: System) -> str:
    return NOTHING if system.info["sparsity"] is None else f"{system.info['sparsity']:g}"


def report(page: TasksPage, runs: list[ScoredRun], numbers: Path, results_md: Path, command: str) -> None:
    """Print the page and write it, and its rows into the file ``numbers``."""
    put_rows(numbers, page.measured(runs))
    publish(page.sections(runs), page, runs, numbers, results_md, command)
