"""What stage 16 ends with: tables, RESULTS.md, results.tsv and plots of error rate against sparsity."""

import argparse
import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from espnet_s3router.recipe import counted_table, runs_table
from espnet_s3router.recipe.plot import plot_error_rate
from espnet_s3router.recipe.points import Point, System, collect, compare, place_of, read_point, systems
from espnet_s3router.recipe.results import ResultRow, put_rows
from espnet_s3router.recipe.scoring import read_text
from espnet_s3router.recipe.sweep_table import Cells, Variant, cells, chosen, curves, table
from espnet_s3router.recipe.table import METRICS, Section, environment, print_table, write_results_md

DENSE = "finetune"
OURS = "routing_prune"  # compared with every other method too


def report(
    args: argparse.Namespace,
    dense: Iterable[Path],
    methods: Sequence[str],
    committed: Sequence[ResultRow],
    broken: Mapping[str, str],
) -> None:
    """Print the tables; write results.tsv, a PNG a metric and, if asked, RESULTS.md. ``dense``: folders of dense models;
    ``methods``: of the points in ``expdir`` that the report is about; ``committed``: rows of points that ran elsewhere."""
    methods = [DENSE, *(method for method in dict.fromkeys(methods) if method != DENSE)]
    unseen = read_text(args.unseen).keys() if args.unseen else None
    points = points_of(args, dense, methods)
    target = Path(args.results_tsv or Path(args.expdir) / "results.tsv")
    rows = [row for point in points for row in point.rows(unseen or ())]
    put_rows(target, rows)
    merged = {row.key: row for row in committed if row.method in methods} | {row.key: row for row in rows}
    held_out = [name for name in args.test_sets if name != args.valid_set] or args.test_sets
    sets = {"+".join(held_out): held_out}
    if unseen is not None:
        sets[f"{'+'.join(held_out)} unseen"] = [f"{name}_unseen" for name in held_out]
    found = []
    for place, of_place in places(merged.values()).items():
        best = chosen(of_place, [args.valid_set])
        best = sorted(best.values(), key=lambda v: (methods.index(v.method), v.sparsity or 0))
        here = [system for system in systems(points) if place_of(system) == place and _variant(system) in best]
        tables = tables_of(of_place, best, sets) | comparisons(here, best, held_out)
        if len(counted := counted_table.table(of_place, best)) > 1:
            tables[counted_table.CAPTION] = counted
        tables[runs_table.CAPTION] = runs_table.table(of_place, best, [args.valid_set])
        found.append(Section(place, tables, [], [], {}))
        for metric in METRICS:
            _plot(args, place, cells(of_place, best, held_out, metric), metric, held_out)
    if broken:
        rows_of_broken = [["point", "why"], *([name, _plain(why)] for name, why in broken.items())]
        found.append(Section(("points that failed",), {"the others are finished": rows_of_broken}, [], [], {}))
    print_table(found)
    print(f"\nnumbers: {target}")
    if args.results_md:
        write_results_md(args.results_md, found, environment(args.command))
        print(f"results: {args.results_md}")


def points_of(args: argparse.Namespace, dense: Iterable[Path], methods: Collection[str]) -> list[Point]:
    """The scored points of ``expdir`` by one of the methods, and the dense models, which may lie elsewhere and count as this
    recipe's. Of other dense models only those that differ from these in nothing but the seed."""
    dense = list(dense)
    folders = {file.parent for file in Path(args.expdir).glob("*/point.json")}
    points = collect(args.expdir, args.inference_tag) if folders else []
    for folder in dense:
        if folder not in folders and (folder / "point.json").exists():
            point = read_point(folder / "point.json", args.inference_tag)
            points.append(dataclasses.replace(point, info={**point.info, "recipe": args.recipe, "method": DENSE}))
    ours = {point.info["variant"] for point in points if point.path in dense}
    points = [point for point in points if point.info["method"] != DENSE or not ours or point.info["variant"] in ours]
    return [point for point in points if point.info["method"] in methods and point.counts]


def places(rows: Iterable[ResultRow]) -> dict[tuple[str, str, str], list[ResultRow]]:
    """Rows by what a table is about: recipe, upstream and split."""
    found: dict[tuple[str, str, str], list[ResultRow]] = {}
    for row in rows:
        found.setdefault((row.recipe, row.upstream, row.split), []).append(row)
    return found


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
    every method to the dense model, and of S3-Router-P to every other method."""
    by_key = {_variant(system)[:2]: system for system in here}
    sparsities = sorted({s for _, s in by_key if s is not None})
    names = list(dict.fromkeys(variant.method for variant in best if variant.sparsity is not None))
    pairs = {f"{name} vs dense": (name, None) for name in names}
    pairs |= {f"{OURS} vs {name}": (OURS, name) for name in names if OURS in names and name != OURS}
    made = {}
    for metric in METRICS:
        rows = []
        for label, (ours, other) in pairs.items():
            theirs = [by_key.get((DENSE, None) if other is None else (other, s)) for s in sparsities]
            told = [_difference(by_key.get((ours, s)), system, test, metric) for s, system in zip(sparsities, theirs)]
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
    return f"{value} [{low}, {high}] {difference.verdict}"


def _variant(system: System) -> Variant:
    return Variant(system.info["method"], system.info["sparsity"], system.info["variant"])


def _plot(args: argparse.Namespace, place: Sequence[str], found: Cells, metric: str, test: Sequence[str]) -> None:
    recipe, upstream, split = place
    path = Path(args.expdir) / f"{metric}_against_sparsity_{upstream}_{split}.png".replace("/", "_")
    title = f"{metric.upper()} on {'+'.join(test)}: upstream {upstream}, trained on {split} ({recipe})"
    seeds = sorted({seed for columns in found.values() for of_seed in columns.values() for seed in of_seed})
    if found:
        bars = "mean, lowest and highest of the seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
        plot_error_rate(curves(found), path, title=title, metric=metric, bars=bars, log=True)
        print(f"plot: {path}")


def _plain(text: str) -> str:
    return text.replace("|", "/")
