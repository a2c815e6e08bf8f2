"""The page of a grid: error rates of every system, comparisons of the chosen ones, and a plot against sparsity."""

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_s3router.results.bootstrap import Interval
from espnet_s3router.results.comparisons import compare, corrected
from espnet_s3router.results.pages.document import Page, Section, as_markdown, percent, publish
from espnet_s3router.results.pages.sizes import plot_sizes, smallest_files
from espnet_s3router.results.plot import plot_error_rate
from espnet_s3router.results.rows import Place, best_named, put_rows
from espnet_s3router.results.scored_runs import BASELINES, ScoredRun, System, choose, metrics_of, systems_by_place
from espnet_s3router.results.scoring import TABLE_HEAD, espnet_row, totals
from espnet_s3router.results.select import by_method_and_sparsity
from espnet_s3router.results.tables import NOTHING, Table
from espnet_s3router.text_format import duration, scaled


@dataclass(frozen=True, kw_only=True)
class GridPage(Page):
    """The page of a grid."""

    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """test utterances of each language, where a run has several"""

    def text(self, runs: Sequence[ScoredRun], environment: Mapping[str, str], folder: Path) -> str:
        """See ``Page``."""
        return as_markdown([results.section for results in grid_results(runs, self)], environment, runs)


@dataclass(frozen=True)
class GridResults:
    """Results of one recipe, upstream and split. ``labels``: every system with its name on the page."""

    place: Place
    labels: Mapping[System, str]
    chosen: Sequence[System]
    section: Section


def grid_results(runs: Iterable[ScoredRun], page: GridPage) -> list[GridResults]:
    """Results of each place, in order."""
    return [_results(place, group, page) for place, group in systems_by_place(runs).items()]


def _results(place: Place, group: Sequence[System], page: GridPage) -> GridResults:
    dev, test = page.dev, page.test
    chosen, labels = choose(group, dev), {system: _label(system, group) for system in group}
    pooled, runs = "+".join(test), [run for system in group for run in system.runs]
    metrics = metrics_of(runs)
    columns: dict[str, tuple] = {
        f"{m.upper()} {n} %": (e, m, None) for m in metrics for n, e in (("dev", dev), ("test", test))
    }
    about = f"dev is {'+'.join(dev)}, test {pooled}; brackets: 95 % bootstrap interval{page.size_note(runs)}"
    if any(run.route for run in runs):
        about += "; bytes added are counted, a bit for each connection of a mask; route file: bytes of the file"
    caption = f"* the variant of its method with {best_named(metrics[0])} on dev; {about}"
    tables = {caption: _table(labels, chosen, columns, costs=True)}
    if any(run.measures for run in runs):
        tables[f"further measures in % on {pooled}, means over seeds"] = _measures(chosen, labels, test)
    lines = _comparisons(chosen, labels, test, None, pooled)
    if page.unseen is not None:
        keys = {key for run in runs for name in test for c in run.counts.get(name, {}).values() for key in c}
        share = f"{len(keys & set(page.unseen))} of {len(keys)}"
        columns = {f"{m.upper()} %": (test, m, page.unseen) for m in metrics}
        caption = f"{pooled} unseen: the {share} utterances whose text does not occur in training"
        tables[caption] = _table({s: labels[s] for s in chosen}, chosen, columns, costs=False)
        lines += _comparisons(chosen, labels, test, page.unseen, f"{pooled} unseen")
    lines += smallest_files(group, page)
    if len(page.groups) > 1:
        columns = {f"{metrics[0].upper()} {name} %": (test, metrics[0], keys) for name, keys in page.groups.items()}
        tables[f"{pooled} by language"] = _table({s: labels[s] for s in chosen}, chosen, columns, costs=False)
    appendix = [line for system in chosen for run in system.runs for line in _espnet_tables(run)]
    return GridResults(place, labels, chosen, Section(place, tables, lines, appendix))


def _label(system: System, group: Iterable[System]) -> str:
    """The method, followed by the targets, init and learning rate that differ between its variants at this sparsity."""
    info = system.info
    same = [s.info for s in group if all(s.info[k] == info[k] for k in ("method", "sparsity"))]
    varied = [key for key in ("targets", "init", "lr") if len({other[key] for other in same}) > 1]
    words = [f"lr {info[key]:g}" if key == "lr" else info[key] or "none" for key in varied]
    if sum(all(other[key] == info[key] for key in varied) for other in same) > 1:
        words.append(info["variant"])
    return " ".join([info["method"], *words])


def _table(labels: Mapping[System, str], chosen: Sequence[System], columns: Mapping[str, tuple], *, costs: bool) -> Table:
    """``columns``: heading -> (datasets, metric, subset)."""
    routed = any(run.route for system in labels for run in system.runs)
    names = ["params trained", "bytes added", *["route file"] * routed, "train time", "seeds", "commit"] if costs else []
    rows = [["", "method", "sparsity", *columns, *names]]
    for system, label in labels.items():
        intervals = (percent(system.interval(*column)) for column in columns.values())
        cells = ["*" if system in chosen else "", label, _sparsity(system) or NOTHING, *intervals]
        rows.append([*cells, *(_costs(system, routed) if costs else ())])
    return rows


def _measures(chosen: Sequence[System], labels: Mapping[System, str], test: Sequence[str]) -> Table:
    """Measures that are no rates of counts: a column for each measure and test set."""
    found = [(run.measures.get(name, {}), name) for system in chosen for run in system.runs for name in test]
    columns = dict.fromkeys((measure, name) for measures, name in found for measure in measures)
    rows = [["method", "sparsity", *(f"{measure.replace('_', ' ')} {name}" for measure, name in columns)]]
    for system in chosen:
        cells = []
        for measure, name in columns:
            values = [run.measures[name][measure] for run in system.runs if measure in run.measures.get(name, {})]
            cells.append(f"{statistics.mean(values):.1f}" if values else NOTHING)
        rows.append([labels[system], _sparsity(system) or NOTHING, *cells])
    return rows


def _costs(system: System, routed: bool) -> list[str]:
    """``routed``: with the mean bytes of the route files."""
    seconds = statistics.mean(run.info["train_seconds"] for run in system.runs)
    commits = sorted({run.info["commit"] for run in system.runs})
    sizes = [scaled(system.info["params_trained"]), f"{scaled(system.info['bytes_added'])}B"]
    if routed:
        files = [run.route["bytes"] for run in system.runs if run.route]
        sizes.append(f"{scaled(statistics.mean(files))}B" if files else NOTHING)
    return [*sizes, duration(seconds), ",".join(map(str, system.seeds)), ",".join(commits)]


def _sparsity(system: System) -> str:
    return "" if system.info["sparsity"] is None else f"{system.info['sparsity']:g}"


def _comparisons(
    chosen: Sequence[System], labels: Mapping[System, str], test: Sequence[str], subset: Collection[str] | None, name: str
) -> list[str]:
    """A line for each pair and metric. ``name``: of the test data."""
    found = {}
    for metric in metrics_of(run for system in chosen for run in system.runs):
        for system, baseline in _pairs(chosen):
            if comparison := compare(system, baseline, test, metric, subset):
                ours, theirs = (f"{labels[s]} {_sparsity(s)}".strip() for s in (system, baseline))
                found[ours, theirs, metric] = comparison
    return [f"{comparison.line(*names)} ({name})" for names, comparison in corrected(found).items()]


def _pairs(chosen: Sequence[System]) -> list[tuple[System, System]]:
    """finetune against head_only, every other method against both, and routing against every other one."""
    by_method = {system.info["method"]: system for system in chosen}
    others = [method for method in by_method if method not in BASELINES]
    names = [("finetune", "head_only")]
    names += [(method, baseline) for baseline in BASELINES for method in others]
    names += [("routing", method) for method in others if method != "routing"]
    return [(by_method[a], by_method[b]) for a, b in names if a in by_method and b in by_method]


def _espnet_tables(run: ScoredRun) -> list[str]:
    """The error rates of a run in the form of ESPnet's RESULTS.md."""
    lines = ["", f"## {run.path.name}"]
    for metric in ("wer", "cer", "per", "ter"):
        scored = {name: metrics[metric].values() for name, metrics in sorted(run.counts.items()) if metric in metrics}
        rows = [espnet_row(f"{run.inference_tags[name]}/{name}", totals(counts)) for name, counts in scored.items()]
        lines += ["", f"### {metric.upper()}", "", TABLE_HEAD, *rows] if rows else []
    return lines


def best_rates(results: Sequence[GridResults]) -> dict[str, dict[str, dict[str, float]]]:
    """Rows of a methods file with the learning rate of each chosen system. There must be one place."""
    (only,) = results
    return {system.info["method"]: {"optim_conf": {"lr": system.info["lr"]}} for system in only.chosen}


def plot(results: Iterable[GridResults], folder: str | Path, page: GridPage) -> list[Path]:
    """Write PNGs for each place into ``folder``: at each sparsity the variant chosen on the validation set.

    The primary error rate is drawn and gives the first files their names: ``cer_against_sparsity.png``, and where there are
    route files ``cer_against_bytes.png``. Files of further places have the place in their names.
    """
    written = list[Path]()
    for place, labels in ((one.place, one.labels) for one in results):
        metric = metrics_of(run for system in labels for run in system.runs)[0]
        path = Path(folder, f"{metric}_against_sparsity.png")
        sparsities = list(dict.fromkeys(system.info["sparsity"] for system in labels))
        best = choose(list(labels), page.dev, by_method_and_sparsity)
        curves: dict[str, list[tuple[float | None, Interval]]] = {}
        for system in sorted(best, key=lambda system: sparsities.index(system.info["sparsity"])):
            if interval := system.interval(page.test, metric):
                curves.setdefault(system.info["method"], []).append((system.info["sparsity"], interval))
        recipe, upstream, split = place
        name = path.with_stem("_".join([path.stem, *place]).replace("/", "_")) if written else path
        title = f"{metric.upper()} on {'+'.join(page.test)}: upstream {upstream}, trained on {split} ({recipe})"
        if curves:
            plot_error_rate(curves, name, title=title, metric=metric)
            sizes = name.with_name(name.name.replace("_against_sparsity", "_against_bytes"))
            written += [name, *[sizes] * plot_sizes(list(labels), page, sizes)]
    return written


def report(
    page: GridPage, runs: list[ScoredRun], numbers: Path, *, results_md: str | Path | None = None, command: str = ""
) -> list[GridResults]:
    """Print the page, put its rows into the file ``numbers`` and write RESULTS.md if a file is given."""
    results = grid_results(runs, page)
    put_rows(numbers, page.measured(runs))
    publish([one.section for one in results], page, runs, numbers, results_md, command)
    return results
