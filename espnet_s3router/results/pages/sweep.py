"""The page of a sweep (stage 16): tables, comparisons and plots of error rate against sparsity."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet_s3router.results import tables
from espnet_s3router.results.comparisons import Comparison, compare, corrected
from espnet_s3router.results.pages.document import Page, Section, as_markdown, publish
from espnet_s3router.results.plot import plot_against_cost, plot_error_rate
from espnet_s3router.results.rows import (
    ACCURACY,
    Place,
    ResultRow,
    errors_named,
    put_rows,
    read_rows,
    shown_metrics,
    shown_value,
)
from espnet_s3router.results.scored_runs import ScoredRun, collect_runs, read_run, systems, without_repeats
from espnet_s3router.results.select import Rates, Variant, best_on_dev, rates_of_rows

DENSE = "finetune"
OURS = "routing_prune"  # compared with every other method too
SAME = "same sparsity"
COSTS = {"macs": ("GMACs for a second of audio", 1e-9), "rtf": ("Real-time factor of encoding", 1.0)}
"""measure of a model without removed units -> axis of its plot, and factor to the unit there"""


@dataclass(frozen=True, kw_only=True)
class SweepPage(Page):
    """The page of a sweep. Test sets are shown pooled and apart."""

    place: Place
    """recipe, upstream and split (a list after ``remake``): the page has its runs with a sparsity, and its dense models"""
    methods: Sequence[str]
    """methods of the first rows; others follow by name"""
    dense_variants: Sequence[str] = ()
    """dense models that the runs started from, with all their seeds; if empty, all dense models are shown"""
    row_files: Sequence[str] = ()
    """results files of runs on other machines, relative to the folder of the page"""
    failed: Mapping[str, str] = field(default_factory=dict)
    """run -> why it failed"""

    def text(self, runs: Sequence[ScoredRun], environment: Mapping[str, str], folder: Path) -> str:
        """See ``Page``."""
        return as_markdown(sections(self, runs, self.rows(runs, folder)), environment, runs)

    def rows(self, runs: Iterable[ScoredRun], folder: Path) -> list[ResultRow]:
        """Rows of the page. Rows of ``runs`` replace those of the row files."""
        stored = (row for file in self.row_files for row in read_rows(folder / file))
        merged = {row.key: row for row in (*stored, *self.measured(runs)) if row.place == tuple(self.place)}
        return [row for row in merged.values() if row.sparsity is not None or self._shows_dense(row)]

    def _shows_dense(self, row: ResultRow) -> bool:
        return row.method == DENSE and (not self.dense_variants or row.variant in self.dense_variants)

    def best(self, rows: Sequence[ResultRow]) -> list[Variant]:
        """The variant that is best on the validation set of each method and sparsity, in the order of the tables."""
        best = best_on_dev(rates_of_rows(rows, self.dev, _metrics(rows)[0])).values()
        order = list(dict.fromkeys((DENSE, *self.methods, *sorted(variant.method for variant in best))))
        return sorted(best, key=lambda variant: (order.index(variant.method), variant.sparsity or 0))

    @property
    def test_groups(self) -> dict[str, Sequence[str]]:
        """Name -> datasets: all test sets together, then each."""
        return {"+".join(self.test): self.test} | {name: [name] for name in self.test}


def runs_of_sweep(
    expdir: str | Path, place: Place, dense: Iterable[Path], *, prefix: str, inference_tag: str | None = None,
    dense_folder: Callable[[int], Path] | None = None,
) -> list[ScoredRun]:  # fmt: skip
    """Scored runs of ``expdir`` at ``place``, and the dense models they started from.

    ``dense``: folders of dense models, which may lie elsewhere and count as those of this recipe. ``dense_folder``: seed ->
    folder of its dense model, for the seeds of the runs. Of a model that was trained twice one is kept: the one in
    ``dense``, else the one whose folder begins with ``prefix``.
    """
    folders = {file.parent for file in Path(expdir).glob("*/point.json")}
    runs = collect_runs(expdir, inference_tag) if folders else []
    given = (dense_folder(run.info["seed"]) for run in runs if run.place == place and dense_folder)
    dense = list(dict.fromkeys((*dense, *given)))
    for folder in dense:
        if folder not in folders and (folder / "point.json").exists():
            run = read_run(folder / "point.json", inference_tag)
            runs.append(_as_dense(run, place[0]))
    runs = [run for run in runs if run.place == place and run.counts]
    runs.sort(key=lambda run: (run.path not in dense, not run.path.name.startswith(prefix)))
    return without_repeats(runs)


def _as_dense(run: ScoredRun, recipe: str) -> ScoredRun:
    """A dense model of another recipe, or under another name, as one of this recipe. Its command names its recipe."""
    there, command = run.info["recipe"], run.command
    if command and there != recipe:
        command = f"cd ../../{there} && {command}"
    return dataclasses.replace(run, info={**run.info, "recipe": recipe, "method": DENSE}, command=command)


def sections(page: SweepPage, runs: Sequence[ScoredRun], rows: Sequence[ResultRow]) -> list[Section]:
    """The tables of the page, and the runs that failed. Without a finished run there are no tables."""
    found = []
    if best := page.best(rows):
        metrics = _metrics(rows)
        made = _error_rates(page, rows, best) | _comparisons(page, runs, best, metrics)
        if len(zeros := tables.zeros(rows, best)) > 1:
            made[tables.ZEROS] = zeros
        if len(smaller := tables.smaller_models(rows, best)) > 1:
            made[tables.SMALLER] = smaller
        if len(files := tables.route_files(rows, best)) > 1:
            made[tables.ROUTE_FILES] = files
        caption = tables.LEARNING_RATES.format(metric=metrics[0].upper())
        made[caption] = tables.learning_rates(rows, best, page.dev, metrics[0])
        found.append(Section(page.place, made))
    if page.failed:
        failed = [["point", "why"], *([name, why.replace("|", "/")] for name, why in page.failed.items())]
        found.append(Section(("points that failed",), {"the others are finished": failed}))
    return found


def _error_rates(page: SweepPage, rows: Sequence[ResultRow], best: Sequence[Variant]) -> dict[str, tables.Table]:
    """A table for each metric and group of datasets."""
    sparsities, datasets, made = _sparsities(best), dict(page.test_groups), {}
    if page.unseen is not None:
        datasets[f"{'+'.join(page.test)} unseen"] = [f"{name}_unseen" for name in page.test]
    for label, names in datasets.items():
        for metric in _metrics(rows):
            if rates := _rates_of(best, rows, names, metric):
                about = "mean of the seeds, in brackets the lowest and highest"
                made[f"{metric.upper()} in % on {label} against sparsity: {about}"] = tables.error_rates(rates, sparsities)
    return made


def _metrics(rows: Iterable[ResultRow]) -> list[str]:
    """The error rates of the rows, the primary one first."""
    return shown_metrics({row.metric for row in rows})


def _sparsities(variants: Iterable[Variant]) -> list[float]:
    return sorted({variant.sparsity for variant in variants if variant.sparsity is not None})


def _rates_of(best: Sequence[Variant], rows: Sequence[ResultRow], datasets: Sequence[str], metric: str) -> Rates:
    rates = rates_of_rows(rows, datasets, metric)
    return {v: {seed: shown_value(metric, rate) for seed, rate in rates[v].items()} for v in best if v in rates}


def _comparisons(
    page: SweepPage, runs: Sequence[ScoredRun], best: Sequence[Variant], metrics: Iterable[str]
) -> dict[str, tables.Table]:
    """Relative differences at each sparsity, for the systems whose runs are given.

    Every method is compared with the dense model, and with methods at sparsity 0, which train as long and prune nothing.
    S3-Router-P is then compared with every other method.
    """
    here = {system.variant[:2]: system for system in systems(runs) if system.variant in best}
    names = list(dict.fromkeys(variant.method for variant in best if variant.sparsity is not None))
    unpruned = {"dense": (DENSE, None)} | {f"{name} at 0": (name, 0) for name in names if (name, 0) in here}
    sparsities, others = _sparsities(s.variant for s in here.values()), [name for name in names if name != OURS]
    pairs: list[tuple[str, str, tuple[str, Any]]]
    pairs = [(f"{name} vs {label}", name, key) for label, key in unpruned.items() for name in names]
    pairs += [(f"{OURS} vs {name}", OURS, (name, SAME)) for name in others if OURS in names]
    made = {}
    for metric in metrics:
        found: dict[tuple[str, float | None], Comparison] = {}
        for label, name, (other, at) in pairs:
            for s in sparsities:
                ours, theirs = here.get((name, s)), here.get((other, s if at == SAME else at))
                if ours and theirs and ours is not theirs and (one := compare(ours, theirs, page.test, metric)):
                    found[label, s] = one
        if found:
            found = corrected(found)
            cells = {cell: one.text() + one.p_text() + one.seeds() for cell, one in found.items()}
            caption = f"relative difference of {errors_named(metric)} on {'+'.join(page.test)} in %, 95 % bootstrap interval"
            caption += next((f"; p: {one.test}" for one in found.values() if one.p_text()), "")
            caption += page.size_note(runs)
            made[caption] = tables.by_sparsity(cells, sparsities, dense=False, corner="")
    return made


def plots(page: SweepPage, rows: Sequence[ResultRow], folder: Path) -> list[Path]:
    """Write a PNG of error rate against sparsity into ``folder`` for each metric and group of test sets.

    Models without removed units have one more for each of ``COSTS``.
    """
    (recipe, upstream, split), best = page.place, page.best(rows)
    written: list[Path] = []
    costs = tables.shrunk_means(rows)
    measures = COSTS if costs else {}
    for metric in _metrics(rows):
        for label, names in page.test_groups.items():
            if not (rates := _rates_of(best, rows, names, metric)):
                continue
            place = (upstream, split, "" if label == "+".join(page.test) else label)
            paths = {against: _plot_path(folder, metric, against, place) for against in ("sparsity", *measures)}
            title = f"{metric.upper()} on {'+'.join(names)}: upstream {upstream}, trained on {split} ({recipe})"
            bars = _bars([len(seeds) for seeds in rates.values()])
            texts: dict[str, Any] = {"title": title, "metric": metric, "bars": bars}
            plot_error_rate(tables.curves(rates), paths["sparsity"], **texts, log=metric != ACCURACY)
            for measure, (axis, scale) in measures.items():
                curves = tables.cost_curves(rates, costs, measure)
                plot_against_cost(curves, paths[measure], **texts, cost=axis, scale=scale)
            written += paths.values()
    return written


def _plot_path(folder: Path, metric: str, against: str, place: Sequence[str]) -> Path:
    stem = "_".join(part for part in (f"{metric}_against_{against}", *place) if part)
    return folder / f"{stem}.png".replace("/", "_")


def _bars(seeds: Sequence[int]) -> str:
    """The meaning of the error bars. ``seeds``: their numbers."""
    if max(seeds) == 1:
        return "one seed"
    few, many = min(seeds), max(seeds)
    return f"mean, lowest and highest of {many if few == many else f'{few} to {many}'} seeds"


def report(page: SweepPage, runs: list[ScoredRun], *, expdir: Path, results_md: str | Path, command: str) -> None:
    """Print the page; write results.tsv, the plots and, if a file is given, RESULTS.md.

    Rows of this place whose runs are gone leave results.tsv.
    """
    put_rows(expdir / "results.tsv", page.measured(runs), replaced_place=page.place)
    rows = page.rows(runs, Path(results_md).parent)
    for path in plots(page, rows, expdir):
        print(f"plot: {path}")
    publish(sections(page, runs, rows), page, runs, expdir / "results.tsv", results_md, command)
