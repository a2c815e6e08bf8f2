"""The last page of a recipe: table, comparisons, RESULTS.md, results.tsv and plot of what it trained.

python -m espnet_s3router.results.page --expdir exp --dev dev_en --test test_en --results_md RESULTS.md
"""

import argparse
import datetime
import importlib.metadata
import platform
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.experiments.grid import grid_parser, places_of
from espnet_s3router.files import git_commit, own_command, write_atomic
from espnet_s3router.results.bootstrap import Difference, Interval
from espnet_s3router.results.plot import plot_error_rate
from espnet_s3router.results.rows import put_rows
from espnet_s3router.results.scoring import TABLE_HEAD, espnet_row, read_text, totals
from espnet_s3router.results.systems import (
    BASELINES,
    Point,
    System,
    choose,
    collect,
    compare,
    once,
    systems,
)

METRICS = ("cer", "wer")  # the primary one first


@dataclass(frozen=True)
class Section:
    """What is said of one recipe, upstream and split: its ``place``. ``tables``: caption -> header, rows."""

    place: Sequence[str]
    tables: Mapping[str, Sequence[Sequence[str]]]
    comparisons: Sequence[str]
    chosen: Sequence[System]
    labels: Mapping[System, str]


def comparison_line(name: str, baseline: str, metric: str, difference: Difference) -> str:
    """For example: finetune vs head_only: -31.2 % relative CER [-36.1, -26.0] better."""
    value, low, high = (f"{100 * x:+.1f}" for x in (difference.value, difference.low, difference.high))
    return f"{name} vs {baseline}: {value} % relative {metric.upper()} [{low}, {high}] {difference.verdict}"


def sections(
    points: Iterable[Point], dev: Sequence[str], test: Sequence[str], unseen: Collection[str] | None = None
) -> list[Section]:
    """Tables and comparisons of each recipe, upstream and split. ``dev``, ``test``: sets, pooled."""
    groups: dict[tuple, list[System]] = {}
    for system in systems(points):
        groups.setdefault(system.place, []).append(system)
    return [_section(place, group, dev, test, unseen) for place, group in groups.items()]


def _section(place: Sequence[str], group: list[System], dev, test, unseen) -> Section:
    chosen, labels = choose(group, dev), {system: _label(system, group) for system in group}
    columns = {f"{m.upper()} {n} %": (e, m, None) for m in METRICS for n, e in (("dev", dev), ("test", test))}
    on = "+".join(test)
    about = f"dev is {'+'.join(dev)}, test {on}; brackets: 95 % bootstrap interval"
    caption = f"* the variant of its method with the lowest CER on dev; {about}"
    tables = {caption: _table(group, chosen, labels, columns, costs=True)}
    lines = [f"{line} ({on})" for line in _comparisons(chosen, labels, test, None)]
    if unseen is not None:
        decoded = [point.counts.get(name, {}) for s in group for point in s.points for name in test]
        keys = {key for metrics in decoded for counts in metrics.values() for key in counts}
        share = f"{len(keys & set(unseen))} of {len(keys)}"
        caption = f"{on} unseen: the {share} utterances whose text does not occur in training"
        columns = {f"{m.upper()} %": (test, m, unseen) for m in METRICS}
        tables[caption] = _table(chosen, chosen, labels, columns, costs=False)
        lines += [f"{line} ({on} unseen)" for line in _comparisons(chosen, labels, test, unseen)]
    return Section(place, tables, lines, chosen, labels)


def _comparisons(chosen: Sequence[System], labels, sets: Sequence[str], subset) -> list[str]:
    lines = []
    for metric in METRICS:
        for system, baseline in _pairs(chosen):
            if difference := compare(system, baseline, sets, metric, subset):
                ours, theirs = (" ".join([labels[s], *_sparsity(s)]) for s in (system, baseline))
                lines.append(comparison_line(ours, theirs, metric, difference) + of_seeds(system, baseline))
    return lines


def of_seeds(system: System, baseline: System) -> str:
    """Which seeds a comparison is of, where one of the two has others."""
    if set(system.seeds) == set(baseline.seeds):
        return ""
    shared = set(system.seeds) & set(baseline.seeds)
    of = [shared] if shared else [system.seeds, baseline.seeds]
    return ", " + " against ".join(f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, sorted(seeds)))}" for seeds in of)


def _pairs(chosen: Sequence[System]) -> list[tuple[System, System]]:
    """finetune against head_only, every other method against both, routing against every other one."""
    by_method = {system.info["method"]: system for system in chosen}
    others = [method for method in by_method if method not in BASELINES]
    names = [("finetune", "head_only")]
    names += [(method, baseline) for baseline in BASELINES for method in others]
    names += [("routing", method) for method in others if method != "routing"]
    return [(by_method[a], by_method[b]) for a, b in names if a in by_method and b in by_method]


def _label(system: System, group: Iterable[System]) -> str:
    """The method, and of targets, init and lr what its variants at this sparsity do not share."""
    info = system.info
    same = [s.info for s in group if all(s.info[k] == info[k] for k in ("method", "sparsity"))]
    varied = [key for key in ("targets", "init", "lr") if len({other[key] for other in same}) > 1]
    told = [f"lr {info[key]:g}" if key == "lr" else info[key] or "none" for key in varied]
    if sum(all(other[key] == info[key] for key in varied) for other in same) > 1:
        told.append(info["variant"])
    return " ".join([info["method"], *told])


def _table(group, chosen, labels, columns, *, costs: bool) -> list[list[str]]:
    """Header and rows of cells; ``columns``: heading -> (sets, metric, subset)."""
    names = ["params trained", "bytes added", "train time", "seeds", "commit"] if costs else []
    rows = [["", "method", "sparsity", *columns, *names]]
    for system in group:
        info, intervals = system.info, [system.interval(*column) for column in columns.values()]
        sparsity = _sparsity(system) or ["–"]
        cells = ["*" if system in chosen else "", labels[system], *sparsity, *map(percent, intervals)]
        if costs:
            seconds = statistics.mean(point.info["train_seconds"] for point in system.points)
            commits = sorted({point.info["commit"] for point in system.points})
            cells += [_scaled(info["params_trained"]), f"{_scaled(info['bytes_added'])}B", _clock(seconds)]
            cells += [",".join(map(str, system.seeds)), ",".join(commits)]
        rows.append(cells)
    return rows


def _sparsity(system: System) -> list[str]:
    return [] if system.info["sparsity"] is None else [f"{system.info['sparsity']:g}"]


def percent(interval: Interval | None) -> str:
    """For example 33.5 [32.9, 34.2]."""
    if interval is None:
        return "–"
    return f"{100 * interval.value:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _scaled(number: float) -> str:
    """Three figures and k, M or G: powers of 1000."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:#.3g}".rstrip(".") + f" {unit}"
    return f"{number:g} "


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"


def print_table(found: Iterable[Section], file=None) -> None:
    """The tables and comparison lines as plain text, columns aligned; the commit is left to RESULTS.md."""
    for section in found:
        print(f"\n{' · '.join(section.place)}", file=file)
        for caption, rows in section.tables.items():
            shown = [row[: len(row) - ("commit" in rows[0])] for row in rows]
            widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
            print(f"\n{caption}", file=file)
            for row in shown:
                cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                print("  ".join(cells).rstrip(), file=file)
        print("", *section.comparisons, sep="\n", file=file)


def environment(command: str) -> dict[str, str]:
    """What RESULTS.md says of the machine and the call, as ESPnet's does; heavy packages are not imported."""

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


def results_md(found: Iterable[Section], about: Mapping[str, str]) -> str:
    """RESULTS.md: environment, our tables, ESPnet's tables of the chosen systems. Pure."""
    lines = ["# RESULTS", "## Environments", *(f"- {name}: `{value}`" for name, value in about.items())]
    for section in found:
        lines += ["", f"## {' · '.join(section.place)}"]
        for caption, (head, *rows) in section.tables.items():
            lines += ["", caption.replace("* ", "\\* ", 1), ""]
            lines += ["|" + "|".join(cells) + "|" for cells in (head, ["---" for _ in head], *rows)]
        lines += ["", *(f"- {line}" for line in section.comparisons)]
        for point in (point for system in section.chosen for point in system.points):
            lines += ["", f"## {point.path.name}"]
            for metric in ("wer", "cer", "ter"):
                scored = {n: m[metric].values() for n, m in sorted(point.counts.items()) if metric in m}
                scores = [espnet_row(f"{point.inference_tags[n]}/{n}", totals(c)) for n, c in scored.items()]
                lines += ["", f"### {metric.upper()}", "", TABLE_HEAD, *scores] if scores else []
    return "\n".join(lines) + "\n"


def write_results_md(path: str | Path, found: Sequence[Section], about: Mapping[str, str]) -> bool:
    """Write RESULTS.md unless it already says the same of the results, whenever and wherever it was made."""

    def body(text: str) -> str:
        return text.partition("\n\n## ")[2]

    path, text = Path(path), results_md(found, about)
    if path.exists() and body(path.read_text(encoding="utf-8")) == body(text):
        return False
    write_atomic(path, text)
    return True


def best_rates(found: Sequence[Section]) -> dict[str, dict[str, dict[str, float]]]:
    """Rows of a methods file with the learning rates of what was chosen, of one recipe, upstream and split."""
    (section,) = found
    return {system.info["method"]: {"optim_conf": {"lr": system.info["lr"]}} for system in section.chosen}


def plot_sections(
    found: Sequence[Section], path: str | Path, dev: Sequence[str], test: Sequence[str], metric: str = "cer"
) -> list[Path]:
    """A PNG for each section, the first at ``path``: at each sparsity the variant chosen on dev."""
    path, written = Path(path), list[Path]()
    for section in found:
        curves: dict[str, list[tuple[float | None, Interval]]] = {}
        by_sparsity: dict[float | None, list[System]] = {}
        for system in section.labels:
            by_sparsity.setdefault(system.info["sparsity"], []).append(system)
        for sparsity, group in by_sparsity.items():
            for system in choose(group, dev):
                if interval := system.interval(test, metric):
                    curves.setdefault(system.info["method"], []).append((sparsity, interval))
        stem = "_".join([path.stem, *section.place]).replace("/", "_")
        name = path.with_stem(stem) if written else path
        recipe, upstream, split = section.place
        title = f"{metric.upper()} on {'+'.join(test)}: upstream {upstream}, trained on {split} ({recipe})"
        if curves:
            plot_error_rate(curves, name, title=title, metric=metric)
            written.append(name)
    return written


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables of an experiment folder; write results.tsv and, if asked, RESULTS.md and the plot."""
    parser = argparse.ArgumentParser(description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--expdir", type=Path, required=True)
    parser.add_argument("--dev", nargs="+", required=True, help="sets on which variants are chosen, pooled")
    parser.add_argument("--test", nargs="+", required=True, help="sets on which methods are compared, pooled")
    parser.add_argument("--unseen", help="file whose first column lists test utterances with texts not trained on")
    parser.add_argument("--results_md", help="RESULTS.md to write")
    parser.add_argument("--results_tsv", help="default: results.tsv in expdir")
    parser.add_argument("--plot", help="PNG of CER against sparsity to write")
    parser.add_argument("--best_rates", help="methods file to write: of each method the learning rate that is best on dev")
    parser.add_argument("--inference_tag", help="which decoding, where a point has several")
    parser.add_argument("--command", default=own_command("table"), help="what RESULTS.md names as the command")
    grid = "all that follows are options of recipe.experiments: only the recipe, upstream and split of that grid are told"
    parser.add_argument("--grid", nargs=argparse.REMAINDER, default=[], help=grid)
    args = parser.parse_args(argv)
    unseen = read_text(args.unseen).keys() if args.unseen else None
    points = once(collect(args.expdir, args.inference_tag))
    if args.grid:
        places = places_of(grid_parser().parse_args(args.grid))
        points = [point for point in points if point.place in places]
        if not points:
            told = ", ".join(" · ".join(place) for place in sorted(places))
            raise InputError(f"{args.expdir}: no point of {told}; train first (stage 11)")
    found = sections(points, args.dev, args.test, unseen)
    table = args.results_tsv or args.expdir / "results.tsv"
    put_rows(table, [row for point in points for row in point.rows(unseen or ())])
    print_table(found)
    print(f"\nnumbers: {table}")
    if args.results_md:
        write_results_md(args.results_md, found, environment(args.command))
        print(f"results: {args.results_md}")
    if args.best_rates:
        write_atomic(args.best_rates, yaml.safe_dump(best_rates(found)))
        print(f"best rates: {args.best_rates}")
    if args.plot:
        for path in plot_sections(found, args.plot, args.dev, args.test):
            print(f"plot: {path}")


if __name__ == "__main__":
    raise SystemExit(main())
