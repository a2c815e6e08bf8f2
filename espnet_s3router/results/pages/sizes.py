"""Error or accuracy against the bytes of route files: which is the smallest as good as finetuning, and a plot."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from espnet_s3router.results.bootstrap import Interval
from espnet_s3router.results.pages.document import Page
from espnet_s3router.results.plot import plot_against_bytes
from espnet_s3router.results.rows import ACCURACY
from espnet_s3router.results.scored_runs import System, choose, metrics_of
from espnet_s3router.results.select import by_method_and_sparsity
from espnet_s3router.text_format import scaled

REFERENCE = "finetune"
OURS = "routing"


class Sized(NamedTuple):
    """A method at one sparsity in its best variant on the validation set, with the mean bytes of its route files."""

    family: str
    name: str
    bytes: float
    dev: float
    """the metric of the page as a fraction: an error rate, or an accuracy"""
    test: Interval


def family(method: str) -> str:
    """The curve of a row of a methods file: its name without a last part that ends in a number, as in ``lora_r4``."""
    return re.sub(r"_[a-z]*\d+$", "", method)


def sized_systems(group: Sequence[System], page: Page) -> list[Sized]:
    """The systems of one place that have route files and are scored on all sets, the smallest file first."""
    metric = metrics_of(run for system in group for run in system.runs)[0]
    found = []
    for system in choose(group, page.dev, by_method_and_sparsity):
        files = [run.route["bytes"] for run in system.runs if run.route]
        dev, test = system.interval(page.dev, metric), system.interval(page.test, metric)
        if files and dev and test:
            method, sparsity = system.info["method"], system.info["sparsity"]
            name = method if sparsity is None else f"{method} {sparsity:g}"
            found.append(Sized(family(method), name, mean(files), dev.value, test))
    return sorted(found, key=lambda one: one.bytes)


def smallest_files(group: Sequence[System], page: Page) -> list[str]:
    """For each curve, the smallest file as good as finetuning on the validation set; one line each.

    The last line has the bytes of routing over those of the smallest rival. Empty without finetuning or without files.
    """
    metric = metrics_of(run for system in group for run in system.runs)[0]
    dense = [system for system in choose(group, page.dev) if system.info["method"] == REFERENCE]
    found = sized_systems(group, page)
    goal = dense[0].interval(page.dev, metric) if dense else None
    if not goal or not found:
        return []
    sign, extreme = (-1, "highest") if metric == ACCURACY else (1, "lowest")
    lines, reached = [], dict[str, Sized]()
    for name, curve in by_family(found).items():
        good = [one for one in curve if sign * one.dev <= sign * goal.value]
        best = reached[name] = good[0] if good else min(curve, key=lambda one: sign * one.dev)
        what = "the smallest file that reaches it" if good else f"none of {len(curve)} reaches it; the {extreme}"
        lines.append(
            f"{metric.upper()} {100 * goal.value:.1f} of {REFERENCE} on {'+'.join(page.dev)}, {name}: {what} is {best.name} "
            f"with {scaled(best.bytes)}B, {100 * best.dev:.1f} on dev and {100 * best.test.value:.1f} on test"
        )
        if not good:
            del reached[name]
    rivals = {name: one for name, one in reached.items() if name != OURS}
    if OURS in reached and rivals:
        rival = min(rivals.values(), key=lambda one: one.bytes)
        lines.append(f"bytes of {reached[OURS].name} over those of {rival.name}: {reached[OURS].bytes / rival.bytes:.2f}")
    return lines


def by_family(found: Iterable[Sized]) -> dict[str, list[Sized]]:
    """Curve -> its points, in the order of ``found``."""
    curves: dict[str, list[Sized]] = {}
    for one in found:
        curves.setdefault(one.family, []).append(one)
    return curves


def plot_sizes(group: Sequence[System], page: Page, path: Path) -> bool:
    """Draw error against bytes. False, and no file, if fewer than two systems have a route file."""
    found = sized_systems(group, page)
    if len(found) < 2:
        return False
    metric = metrics_of(run for system in group for run in system.runs)[0]
    lines: Mapping[str, Interval | None] = {
        system.info["method"]: system.interval(page.test, metric)
        for system in choose(group, page.dev)
        if system.info["method"] == REFERENCE
    }
    curves = {name: [(one.bytes, one.test) for one in curve] for name, curve in by_family(found).items()}
    dense = {name: [(None, interval)] for name, interval in lines.items() if interval}
    recipe, upstream, split = group[0].place
    title = f"{metric.upper()} on {'+'.join(page.test)}: upstream {upstream}, trained on {split} ({recipe})"
    plot_against_bytes({**dense, **curves}, path, title=title, metric=metric)
    return True
