"""What the experiment folders of a recipe hold, read back as points and systems.

An experiment folder holds ``point.json`` (what was trained) and ``<inference tag>/<set>/counts.json`` (what
scoring found). Points that differ in nothing but their seed are one system; a method's variants (sparsity,
learning rate …) are compared on dev, and only the one chosen there is compared with other methods on test.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from espnet_s3router.errors import InputError
from espnet_s3router.results.bootstrap import Difference, Interval, error_rate_interval, relative_difference
from espnet_s3router.results.rows import OF_THE_MODEL, Place, ResultRow
from espnet_s3router.results.scoring import Counts, totals

POINT_KEYS = tuple(f.name for f in fields(ResultRow) if f.name not in ("set", "metric", "value"))
BASELINES = ("head_only", "finetune")  # printed first; every other method is compared with both


@dataclass(frozen=True, eq=False)
class Point:
    """One experiment folder. ``counts``: set -> metric -> utterance -> [hits, sub, del, ins]. ``counted``: the report on the
    zeros of the trained model (``methods.report``), empty where there is none."""

    path: Path
    info: Mapping[str, Any]
    counts: Mapping[str, Mapping[str, Mapping[str, Counts]]]
    inference_tags: Mapping[str, str]
    counted: Mapping[str, float] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        """See ``ResultRow.place``."""
        return self.info["recipe"], self.info["upstream"], self.info["split"]

    def rows(self, unseen: Collection[str] = ()) -> list[ResultRow]:
        """Rates in percent and the counts behind them; of ``<set>_unseen`` too where it holds ``unseen``. Then the zeros."""
        rows = []
        for name, metric in ((n, m) for n, metrics in self.counts.items() for m in metrics):
            whole = self.counts[name][metric]
            parts = {name: whole, f"{name}_unseen": {k: c for k, c in whole.items() if k in unseen}}
            for label, part in parts.items():
                if part:
                    total = totals(part.values())
                    values = {metric: total.rate} | {f"{metric}_{k}": v for k, v in vars(total).items()}
                    rows += [ResultRow(**self.info, set=label, metric=m, value=v) for m, v in values.items()]
        return rows + [ResultRow(**self.info, set="", metric=OF_THE_MODEL + k, value=v) for k, v in self.counted.items()]


def collect(expdir: str | Path, inference_tag: str | None = None) -> list[Point]:
    """Every folder of ``expdir`` with a ``point.json``, by name; ``inference_tag`` picks among several.

    Raises InputError for a file that is not what its folder promises, naming it.
    """
    points = [read_point(file, inference_tag) for file in sorted(Path(expdir).glob("*/point.json"))]
    if not points:
        raise InputError(f"{expdir}: no folder with a point.json; train first (stage 11).")
    return points


def read_point(file: Path, inference_tag: str | None = None) -> Point:
    """The point of a ``point.json``; InputError as in ``collect``."""
    info = _read_json(file)
    if missing := [key for key in POINT_KEYS if key not in info]:
        raise InputError(f"{file}: lacks {', '.join(missing)}; train the point again or complete the file.")
    counted = info.get("counted", {})
    info = {key: info[key] for key in POINT_KEYS}
    for key in ("targets", "init"):  # null: the method has none; a list: several patterns
        info[key] = ",".join([info[key]] if isinstance(info[key], str) else info[key] or [])
    try:
        ResultRow(**info, set="any", metric="any", value=0)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    counts: dict[str, Any] = {}
    tags: dict[str, str] = {}
    for scored in sorted(file.parent.glob(f"{inference_tag or '*'}/*/counts.json")):
        tag, name = scored.parts[-3:-1]
        if name in counts:
            both = f"{tags[name]} and {tag}"
            raise InputError(f"{file.parent}: {name} is decoded as {both}; give an inference tag.")
        counts[name], tags[name] = _read_json(scored), tag
    return Point(file.parent, info, counts, tags, counted)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file}: not JSON ({error}); remove it and run its stage again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: holds no JSON object; remove it and run its stage again.")
    return content


@dataclass(frozen=True, eq=False)
class System:
    """Points that differ in nothing but their seed, by seed."""

    points: tuple[Point, ...]

    @property
    def info(self) -> Mapping[str, Any]:
        return self.points[0].info

    @property
    def place(self) -> Place:
        """Systems of different places are not compared."""
        return self.points[0].place

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        return tuple(point.info["seed"] for point in self.points)

    def errors(
        self, sets: Sequence[str], metric: str, subset: Collection[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Errors (seeds, utterances) and reference tokens (utterances,), sets pooled in the order given.

        None where a seed was not decoded on a set or no utterance is left. Raises InputError where the
        seeds were scored on different utterances or references.
        """
        if not all(metric in point.counts.get(name, ()) for point in self.points for name in sets):
            return None
        tables = [{(s, k): c for s in sets for k, c in p.counts[s][metric].items()} for p in self.points]
        keys = sorted(k for k in tables[0] if subset is None or k[1] in subset)
        if not keys:
            return None
        if any(table.keys() != tables[0].keys() for table in tables):
            raise InputError(f"{self.points[0].path} and its other seeds were scored on different utterances.")
        counts = np.array([[table[k] for k in keys] for table in tables]).reshape(len(tables), len(keys), 4)
        lengths = counts[..., :3].sum(axis=2)
        if (lengths != lengths[0]).any():
            raise InputError(f"{self.points[0].path} and its other seeds were scored with different references.")
        return counts[..., 1:].sum(axis=2), lengths[0]

    def interval(self, sets: Sequence[str], metric: str, subset: Collection[str] | None = None) -> Interval | None:
        """Error rate as a fraction with its 95 % bootstrap interval; None where not all was decoded."""
        data = self.errors(sets, metric, subset)
        return error_rate_interval(*data) if data else None


def once(points: Iterable[Point]) -> list[Point]:
    """Of points that are the same run (trained under two tags) the first that is scored, else the first."""
    found: dict[tuple, Point] = {}
    for point in sorted(points, key=lambda point: not point.counts):
        same = found.setdefault((*point.place, *(point.info[key] for key in ("method", "variant", "seed"))), point)
        if same is not point:
            print(f"{point.path}: the same run as {same.path}, left out")
    return list(found.values())


def systems(points: Iterable[Point]) -> list[System]:
    """Group points by everything but the seed; baselines first, then by method, sparsity and variant."""
    groups: dict[tuple, list[Point]] = {}
    for point in points:
        key = (*point.place, point.info["method"], point.info["variant"])
        groups.setdefault(key, []).append(point)
    found = [System(tuple(sorted(group, key=lambda p: p.info["seed"]))) for group in groups.values()]
    for system in found:
        if len(set(system.seeds)) < len(system.seeds):
            names = ", ".join(str(point.path) for point in system.points)
            raise InputError(f"two folders hold the same variant and seed; remove one of: {names}.")
    return sorted(found, key=_order)


def _order(system: System) -> tuple:
    info = system.info
    rank = BASELINES.index(info["method"]) if info["method"] in BASELINES else len(BASELINES)
    return (*system.place, rank, info["method"], info["sparsity"] or 0, info["variant"])


def choose(group: Iterable[System], dev: Sequence[str], metric: str = "cer") -> list[System]:
    """Of each method the variant with the lowest pooled error rate on dev; the first of equals.

    Variants are compared on the seeds that all of the method's variants have (on their own seeds where there
    are none), so that a variant trained with more seeds is neither favoured nor punished for it.
    """
    methods: dict[str, list[tuple[System, np.ndarray]]] = {}  # with the error rate of each seed on dev
    for system in group:
        if data := system.errors(dev, metric):
            rates = data[0].sum(axis=1) / data[1].sum()
            methods.setdefault(system.info["method"], []).append((system, rates))

    chosen = []
    for variants in methods.values():
        shared = set.intersection(*(set(system.seeds) for system, _ in variants))
        means = [rates[[not shared or n in shared for n in s.seeds]].mean() for s, rates in variants]
        chosen.append(variants[int(np.argmin(means))][0])
    return chosen


def compare(
    system: System, baseline: System, sets: Sequence[str], metric: str, subset: Collection[str] | None = None
) -> Difference | None:
    """Paired difference of two systems on the seeds both have; on all seeds, unpaired, if they share none.

    None where one was not decoded on the sets or the baseline makes no error there.
    """
    ours, theirs = (s.errors(sets, metric, subset) for s in (system, baseline))
    if ours is None or theirs is None:
        return None
    if not np.array_equal(ours[1], theirs[1]):
        both = f"{system.points[0].path} and {baseline.points[0].path}"
        raise InputError(f"{both}: scored on different references; decode and score both again.")
    shared = sorted(set(system.seeds) & set(baseline.seeds))
    if shared:
        ours, theirs = (
            (data[0][[one.seeds.index(seed) for seed in shared]], data[1])
            for one, data in ((system, ours), (baseline, theirs))
        )
    if not theirs[0].any():
        return None
    return relative_difference(ours[0], theirs[0], ours[1], paired_seeds=bool(shared))
