"""The page of a transfer matrix: error rates of each language with the masks of every other one, against its own masks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_s3router.results.bootstrap import Interval
from espnet_s3router.results.comparisons import Comparison, compare, corrected
from espnet_s3router.results.heat_map import draw_heat_maps
from espnet_s3router.results.pages.document import Page, Section, as_markdown, publish
from espnet_s3router.results.rows import put_rows
from espnet_s3router.results.scored_runs import ScoredRun, System, choose, metrics_of, systems_by_place
from espnet_s3router.results.select import by_method_and_sparsity, mean
from espnet_s3router.results.tables import NOTHING, Table

FROZEN, ADAPTED = "frozen", "adapted"
Pair = tuple[str, str]
"""The language that a mask comes from, and the language that is recognised."""


def label_of(source: str, kind: str) -> str:
    """The method of runs that start from the masks of a language, as rows and pages name it."""
    return f"from_{source}_{kind}"


@dataclass(frozen=True, kw_only=True)
class TransferPage(Page):
    """The page of a transfer matrix. Datasets are those of all languages."""

    row: str
    """the method of the own runs"""
    control: str
    """the language whose masks are compared with those of all others"""
    languages: Mapping[str, str]
    """language -> its training set"""
    kind: str = "language"
    """what the entries of ``languages`` are"""

    def text(self, runs: Sequence[ScoredRun], environment: Mapping[str, str], folder: Path) -> str:
        """See ``Page``."""
        return as_markdown(self.sections(runs), environment, runs)

    def sections(self, runs: Sequence[ScoredRun]) -> list[Section]:
        """A section for each sparsity and kind of run."""
        note = self.size_note(runs)
        return [self._section(matrix, note) for matrix in matrices(runs, self)]

    def _section(self, matrix: "Matrix", note: str) -> Section:
        caption = (
            f"{matrix.named_metrics()} on test in %, with the masks of the {self.kind} on the left. In bold: its own masks. "
            f"In brackets: relative difference of errors to the own masks{note}"
        )
        lines = {
            (f"{target} with {matrix.kind} masks of {source}", "own masks", matrix.metrics[target]): comparison
            for (source, target), comparison in matrix.changes.items()
        }
        found = [comparison.line(*names) for names, comparison in corrected(lines).items()]
        tables = {caption: matrix.table(list(self.languages))}
        return Section(matrix.title, tables, [*matrix.control_lines(self.control), *found])


@dataclass(frozen=True)
class Matrix:
    """One matrix, at one sparsity. A pair without scored runs is missing."""

    kind: str
    sparsity: float
    title: Sequence[str]
    metrics: Mapping[str, str]
    """the metric of each language"""
    rates: Mapping[Pair, Interval]
    """test error rates; on the diagonal those of the own masks"""
    changes: Mapping[Pair, Comparison]
    """comparisons with the own masks"""

    def named_metrics(self) -> str:
        """For example ``CER``, or ``CER of en, ACCURACY of services``."""
        names = {language: metric.upper() for language, metric in self.metrics.items()}
        different = list(dict.fromkeys(names.values()))
        return different[0] if len(different) == 1 else ", ".join(f"{name} of {of}" for of, name in names.items())

    def table(self, languages: Sequence[str]) -> Table:
        """A row for each language that masks come from, with the mean of its relative differences."""
        rows = [["masks of", *languages, "mean difference %"]]
        for source in languages:
            found = [self.percent(pair) for pair in self.changes if pair[0] == source]
            cells = [self._cell((source, target)) for target in languages]
            rows.append([source, *cells, f"{mean(found):+.1f}" if found else NOTHING])
        return rows

    def percent(self, pair: Pair) -> float:
        """Relative difference to the own masks in percent."""
        return 100 * self.changes[pair].difference.value

    def _cell(self, pair: Pair) -> str:
        if pair not in self.rates:
            return NOTHING
        rate = f"{100 * self.rates[pair].value:.1f}"
        if pair[0] == pair[1]:
            return f"**{rate}**"
        return f"{rate} ({self.percent(pair):+.1f})" if pair in self.changes else rate

    def control_lines(self, control: str) -> list[str]:
        """How the masks of ``control`` do in other languages, beside those of all others there (arXiv 2501.19321)."""
        targets = [target for source, target in self.changes if source == control]
        if not targets:
            return []
        found = mean([self.percent((control, target)) for target in targets])
        lines = [f"{control} first: {found:+.1f} % relative to the own masks, mean over {', '.join(targets)}"]
        others = {t: [s for s, target in self.changes if target == t and s != control] for t in targets}
        if all(others.values()):
            rest = mean([mean([self.percent((s, t)) for s in others[t]]) for t in targets])
            best = [t for t in targets if all(self.percent((control, t)) < self.percent((s, t)) for s in others[t])]
            lines += [
                f"masks of other foreign languages there: {rest:+.1f} %. Those of {control} are the best foreign ones in "
                f"{len(best)} of {len(targets)}" + (f": {', '.join(best)}" if best else "")
            ]
        return lines


def matrices(runs: Iterable[ScoredRun], page: TransferPage) -> list[Matrix]:
    """The matrices of the runs of a page. Of several learning rates the best one on the validation set is shown."""
    chosen: dict[tuple[str, str, float | None], System] = {}  # (language, method, sparsity)
    runs = list(runs)
    languages = {split: language for language, split in page.languages.items()}
    for (_, _, split), group in systems_by_place(runs).items():
        dev = [name for name in page.dev if all(name in run.counts for system in group for run in system.runs)]
        for system in choose(group, dev, by_method_and_sparsity):
            chosen[languages[split], system.info["method"], system.info["sparsity"]] = system
    first, found = runs[0], []
    for sparsity in sorted({sparsity for _, _, sparsity in chosen if sparsity is not None}):
        own = {target: chosen[target, page.row, sparsity] for target in page.languages}
        metrics = {target: metrics_of(system.runs)[0] for target, system in own.items()}
        for kind in (FROZEN, ADAPTED):
            others = {
                (source, target): chosen[target, label_of(source, kind), sparsity]
                for target in page.languages
                for source in page.languages
                if (target, label_of(source, kind), sparsity) in chosen
            }
            systems = {(target, target): system for target, system in own.items()} | others
            tests = {pair: [name for name in page.test if name in systems[pair].runs[0].counts] for pair in systems}
            rates = {pair: system.interval(tests[pair], metrics[pair[1]]) for pair, system in systems.items()}
            changes = {p: compare(system, own[p[1]], tests[p], metrics[p[1]]) for p, system in others.items()}
            title = (*first.place[:2], f"{kind} masks of other {page.kind}s, sparsity {sparsity:g}")
            found.append(Matrix(kind, sparsity, title, metrics, _known(rates), _known(changes)))
    return found


def _known(found: Mapping[Pair, object]) -> dict:
    """The entries that are not None."""
    return {pair: value for pair, value in found.items() if value is not None}


def report(page: TransferPage, runs: list[ScoredRun], numbers: Path, results_md: Path, command: str) -> None:
    """Print the page and write it, its rows into the file ``numbers``, and a heat map of each sparsity beside these."""
    put_rows(numbers, page.measured(runs))
    publish(page.sections(runs), page, runs, numbers, results_md, command)
    by_sparsity: dict[float, list[Matrix]] = {}
    for matrix in matrices(runs, page):
        by_sparsity.setdefault(matrix.sparsity, []).append(matrix)
    for sparsity, panels in by_sparsity.items():
        path = numbers.parent / f"transfer_s{sparsity:g}.png"
        values = {matrix.kind: {pair: matrix.percent(pair) for pair in matrix.changes} for matrix in panels}
        title = f"{panels[0].named_metrics()} with the masks of another language, sparsity {sparsity:g}"
        draw_heat_maps(values, list(page.languages), path, title=title)
        print(f"plot: {path}")
