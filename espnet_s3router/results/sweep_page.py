"""What stage 16 ends with: tables, RESULTS.md, results.tsv and plots of error rate against sparsity."""

import argparse
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from espnet_s3router.experiments.grid import prefix_of
from espnet_s3router.results import runs_table
from espnet_s3router.results import sparsity_table as counted_table
from espnet_s3router.results.page import METRICS, Section, environment, of_seeds, print_table, write_results_md
from espnet_s3router.results.plot import plot_error_rate
from espnet_s3router.results.rows import Place, ResultRow, put_rows
from espnet_s3router.results.scoring import read_text
from espnet_s3router.results.sweep_table import Cells, Variant, cells, chosen, curves, table
from espnet_s3router.results.systems import Point, System, collect, compare, once, read_point, systems

DENSE = "finetune"
OURS = "routing_prune"  # compared with every other method too


def report(
    args: argparse.Namespace,
    dense: Iterable[Path],
    place: Place,
    methods: Iterable[str],
    committed: Sequence[ResultRow],
    broken: Mapping[str, str],
) -> None:
    """Print the tables; write results.tsv, a PNG a metric and group of sets and, if asked, RESULTS.md.

    ``dense``: folders of dense models; ``place``: what the report is about: every point there with a sparsity, and of dense
    models those that differ from these in nothing but the seed; ``methods``: which come first; ``committed``: rows of points
    that ran elsewhere. Rows of this place whose points are gone leave results.tsv.
    """
    dense = list(dense)
    unseen = read_text(args.unseen).keys() if args.unseen else None
    points = points_of(args, dense, place)
    measured = [row for point in points for row in point.rows(unseen or ())]
    target = Path(args.expdir) / "results.tsv"
    put_rows(target, measured, instead_of=place)
    ours = {point.info["variant"] for point in points if point.path in dense}
    merged = {row.key: row for row in (*committed, *measured) if row.place == place}.values()
    rows = [row for row in merged if row.sparsity is not None or (row.method == DENSE and (not ours or row.variant in ours))]
    held_out = [name for name in args.test_sets if name != args.valid_set] or args.test_sets
    tested = {"+".join(held_out): held_out} | {name: [name] for name in held_out}
    sets = dict(tested)
    if unseen is not None:
        sets[f"{'+'.join(held_out)} unseen"] = [f"{name}_unseen" for name in held_out]
    found = []
    if best := chosen(rows, [args.valid_set]):
        order = list(dict.fromkeys((DENSE, *methods, *sorted(method for method, _ in best))))
        ranked = sorted(best.values(), key=lambda v: (order.index(v.method), v.sparsity or 0))
        here = [system for system in systems(points) if _variant(system) in ranked]
        tables = tables_of(rows, ranked, sets) | comparisons(here, ranked, held_out)
        if len(counted := counted_table.table(rows, ranked)) > 1:
            tables[counted_table.CAPTION] = counted
        tables[runs_table.CAPTION] = runs_table.table(rows, ranked, [args.valid_set])
        found.append(Section(place, tables, [], [], {}))
        for metric in METRICS:
            for label, names in tested.items():
                _plot(args, place, cells(rows, ranked, names, metric), metric, "" if names == held_out else label, names)
    if broken:
        rows_of_broken = [["point", "why"], *([name, _plain(why)] for name, why in broken.items())]
        found.append(Section(("points that failed",), {"the others are finished": rows_of_broken}, [], [], {}))
    print_table(found)
    print(f"\nnumbers: {target}")
    if args.results_md:
        write_results_md(args.results_md, found, environment(args.command))
        print(f"results: {args.results_md}")


def points_of(args: argparse.Namespace, dense: Iterable[Path], place: Place) -> list[Point]:
    """The scored points of ``expdir`` that are about ``place``, and the dense models, which may lie elsewhere and count as
    this recipe's: those asked for and, with ``--dense_exp``, those of the seeds of the points. What was trained twice (under
    two tags) is in it once: the dense model that is asked for, else the one under this tag."""
    folders = {file.parent for file in Path(args.expdir).glob("*/point.json")}
    points = collect(args.expdir, args.inference_tag) if folders else []
    given = (dense_of(args, point.info["seed"]) for point in points if point.place == place and args.dense_exp)
    dense = list(dict.fromkeys((*dense, *given)))
    for folder in dense:
        if folder not in folders and (folder / "point.json").exists():
            point = read_point(folder / "point.json", args.inference_tag)
            points.append(dataclasses.replace(point, info={**point.info, "recipe": args.recipe, "method": DENSE}))
    points = [point for point in points if point.place == place and point.counts]
    points.sort(key=lambda point: (point.path not in dense, not point.path.name.startswith(prefix_of(args))))
    return once(points)


def dense_of(args: argparse.Namespace, seed: int) -> Path:
    """The folder that ``--dense_exp`` names for a seed."""
    return Path(args.dense_exp.replace("{seed}", str(seed)))


def tables_of(
    rows: Sequence[ResultRow], best: Sequence[Variant], sets: Mapping[str, Sequence[str]]
) -> dict[str, list[list[str]]]:
    """Caption -> cells, for each metric and group of sets."""
    sparsities = sorted({variant.sparsity for variant in best if variant.sparsity is not None})
    made = {}
    for label, names in sets.items():
        for metric in METRICS:
            found = cells(rows, best, names, metric)
            caption = (
                f"{metric.upper()} in % on {label} against sparsity: mean of the seeds, in brackets the lowest and highest"
            )
            if found:
                made[caption] = table(found, sparsities)
    return made


def comparisons(here: Sequence[System], best: Sequence[Variant], test: Sequence[str]) -> dict[str, list[list[str]]]:
    """Relative differences with their 95 % bootstrap intervals at each sparsity, for the points whose folders are here: of
    every method to the dense model, and to what has its further updates unpruned (a method at sparsity 0); then of
    S3-Router-P to every other method."""
    by_key = {_variant(system)[:2]: system for system in here}
    sparsities = sorted({s for _, s in by_key if s is not None})
    names = list(dict.fromkeys(variant.method for variant in best if variant.sparsity is not None))
    unpruned = {"dense": (DENSE, None)} | {f"{name} at 0": (name, 0) for name in names if (name, 0) in by_key}
    pairs = {
        f"{name} vs {label}": [((name, s), key) for s in sparsities] for label, key in unpruned.items() for name in names
    }
    others = [name for name in names if OURS in names and name != OURS]
    pairs |= {f"{OURS} vs {name}": [((OURS, s), (name, s)) for s in sparsities] for name in others}
    made = {}
    for metric in METRICS:
        rows = []
        for label, keys in pairs.items():
            told = [_difference(by_key.get(a), by_key.get(b), test, metric) if a != b else "–" for a, b in keys]
            if any(cell != "–" for cell in told):
                rows.append([label, *told])
        if rows:
            caption = f"relative difference of {metric.upper()} on {'+'.join(test)} in %, 95 % bootstrap interval"
            made[caption] = [["", *(f"{s:g}" for s in sparsities)], *rows]
    return made


def _difference(system: System | None, baseline: System | None, test: Sequence[str], metric: str) -> str:
    difference = compare(system, baseline, test, metric) if system and baseline else None
    if difference is None:
        return "–"
    value, low, high = (f"{100 * x:+.1f}" for x in (difference.value, difference.low, difference.high))
    return f"{value} [{low}, {high}] {difference.verdict}{of_seeds(system, baseline)}"


def _variant(system: System) -> Variant:
    return Variant(system.info["method"], system.info["sparsity"], system.info["variant"])


def _plot(args: argparse.Namespace, place: Place, found: Cells, metric: str, label: str, test: Sequence[str]) -> None:
    """``label``: ends the name of the file."""
    recipe, upstream, split = place
    name = "_".join(part for part in (f"{metric}_against_sparsity", upstream, split, label) if part)
    path = Path(args.expdir) / f"{name}.png".replace("/", "_")
    title = f"{metric.upper()} on {'+'.join(test)}: upstream {upstream}, trained on {split} ({recipe})"
    if found:
        counts = {len(of_seed) for columns in found.values() for of_seed in columns.values()}
        few, many = min(counts), max(counts)
        bars = f"mean, lowest and highest of {many if few == many else f'{few} to {many}'} seeds" if many > 1 else "one seed"
        plot_error_rate(curves(found), path, title=title, metric=metric, bars=bars, log=True)
        print(f"plot: {path}")


def _plain(text: str) -> str:
    return text.replace("|", "/")
