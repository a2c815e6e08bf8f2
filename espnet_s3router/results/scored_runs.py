"""Scored experiment folders, read back as runs and as systems.

An experiment folder holds ``point.json`` (what was trained) and ``<inference tag>/<dataset>/counts.json`` (its scores).
Runs that differ only in their seed form a system.
"""

import json
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from espnet_s3router.errors import InputError
from espnet_s3router.results.alignment import Counts
from espnet_s3router.results.bootstrap import Interval, error_rate_interval
from espnet_s3router.results.rows import (
    ACCURACY,
    MODEL_METRIC,
    ROUTE_METRIC,
    SHRUNK_METRIC,
    WORD_METRICS,
    Place,
    ResultRow,
    shown_metrics,
    shown_value,
)
from espnet_s3router.results.scoring import COUNTS, MEASURES, WORD_ALIGNMENTS, totals
from espnet_s3router.results.select import Variant, best_on_dev, by_method

RUN_KEYS = tuple(f.name for f in fields(ResultRow) if f.name not in ("set", "metric", "value"))
BASELINES = ("head_only", "finetune")  # printed first; every other method is compared with both


@dataclass(frozen=True, eq=False)
class ScoredRun:
    """One experiment folder after scoring."""

    path: Path
    info: Mapping[str, Any]
    """columns of a result row that do not depend on a score, see ``RUN_KEYS``"""
    counts: Mapping[str, Mapping[str, Mapping[str, Counts]]]
    """dataset -> metric -> utterance -> [correct, substituted, deleted, inserted]"""
    inference_tags: Mapping[str, str]
    """dataset -> name of the decoding whose scores these are"""
    counted: Mapping[str, float] = field(default_factory=dict)
    """zeros counted in the trained model (``sparsity`` in ``model.json``); empty if there is no report"""
    word_alignments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """dataset -> utterance -> alignment steps; older experiment folders lack them"""
    route: Mapping[str, int] = field(default_factory=dict)
    """``bytes`` of the route file and ``bytes_masks`` of its masks; empty if there is none"""
    command: str = ""
    """the command of the recipe that started the run; older experiment folders lack it"""
    measures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """dataset -> measure -> value in percent: what is no rate of counts, such as an F1"""
    shrunk: Mapping[str, float] = field(default_factory=dict)
    """sizes and speed of the model without removed units; empty if there is none"""

    @property
    def place(self) -> Place:
        """See ``ResultRow.place``."""
        return self.info["recipe"], self.info["upstream"], self.info["split"]

    def rows(self, unseen: Collection[str] = ()) -> list[ResultRow]:
        """Metrics in percent, the counts behind them, further measures, the zeros of the model, and the bytes of its route.

        A dataset with ``unseen`` utterances also gets the rates of these alone, as ``<dataset>_unseen``.
        """
        rows = []
        for name, metric in ((n, m) for n, metrics in self.counts.items() for m in metrics):
            whole = self.counts[name][metric]
            parts = {name: whole, f"{name}_unseen": {k: c for k, c in whole.items() if k in unseen}}
            for label, part in parts.items():
                if part:
                    total = totals(part.values())
                    values = {metric: shown_value(metric, total.rate)} | {f"{metric}_{k}": v for k, v in vars(total).items()}
                    rows += [ResultRow(**self.info, set=label, metric=m, value=v) for m, v in values.items()]
        for name, found in self.measures.items():
            rows += [ResultRow(**self.info, set=name, metric=m, value=v) for m, v in found.items()]
        of_model = {MODEL_METRIC + key: value for key, value in self.counted.items()}
        of_model |= {ROUTE_METRIC + key: value for key, value in self.route.items()}
        of_model |= {SHRUNK_METRIC + key: value for key, value in self.shrunk.items()}
        return rows + [ResultRow(**self.info, set="", metric=metric, value=value) for metric, value in of_model.items()]


def collect_runs(expdir: str | Path, inference_tag: str | None = None) -> list[ScoredRun]:
    """Every experiment folder of ``expdir``, by name. ``inference_tag`` picks one of several decodings.

    Raises InputError naming the file that does not hold what it should.
    """
    runs = [read_run(file, inference_tag) for file in sorted(Path(expdir).glob("*/point.json"))]
    if not runs:
        raise InputError(f"{expdir}: no folder with a point.json; train first (stage 11).")
    return runs


def read_run(file: Path, inference_tag: str | None = None) -> ScoredRun:
    """The run of a ``point.json``. Raises InputError as ``collect_runs`` does."""
    info = {"base": ""} | _read_json(file)
    if missing := [key for key in RUN_KEYS if key not in info]:
        raise InputError(f"{file}: lacks {', '.join(missing)}; train the run again or complete the file.")
    counted, command = info.get("counted", {}), info.get("command", "")
    info = {key: info[key] for key in RUN_KEYS}
    for key in ("targets", "init"):  # null: the method has none; a list: several patterns
        info[key] = ",".join([info[key]] if isinstance(info[key], str) else info[key] or [])
    try:
        ResultRow(**info, set="any", metric="any", value=0)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    counts, tags, alignments, measures = dict[str, Any](), dict[str, str](), dict[str, Any](), dict[str, Any]()
    for scored in sorted(file.parent.glob(f"{inference_tag or '*'}/*/{COUNTS}")):
        tag, name = scored.parts[-3:-1]
        if name in counts:
            raise InputError(f"{file.parent}: {name} is decoded as {tags[name]} and {tag}; give an inference tag.")
        counts[name], tags[name] = _read_json(scored), tag
        if (further := scored.with_name(MEASURES)).exists():
            measures[name] = _read_json(further)
        if (words := scored.with_name(WORD_ALIGNMENTS)).exists():
            alignments[name] = _read_json(words)
            errors = {key: len(steps.replace("C", "")) for key, steps in alignments[name].items()}
            aligned: Mapping[str, Counts] = next(
                (counts[name][metric] for metric in WORD_METRICS if metric in counts[name]), {}
            )
            if errors != {key: sum(count[1:]) for key, count in aligned.items()}:
                raise InputError(f"{words}: does not fit {COUNTS} beside it; remove both and score again (stage 13).")
    shrunk = shrunk_figures(file.parent)
    return ScoredRun(
        file.parent, info, counts, tags, counted, alignments, route_bytes(file.parent), command, measures, shrunk
    )


def route_bytes(experiment: Path) -> dict[str, int]:
    """Bytes of the route file of an experiment folder, as stage 17 counted them; empty if the file is not there."""
    report = experiment / "route.json"
    made = _read_json(report) if report.exists() else {}
    if "route" not in made or not (experiment / made["route"]).is_file():
        return {}
    return {key: made[key] for key in ("bytes", "bytes_masks")}


def shrunk_figures(experiment: Path) -> dict[str, float]:
    """Sizes and speed of the model without removed units in an experiment folder (see ``bin.asr_shrink``); empty if there is
    none."""
    report = experiment / "shrunk.json"
    return _read_json(report) if report.exists() and (experiment / "shrunk").is_dir() else {}


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file}: not JSON ({error}); remove it and run its stage again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: holds no JSON object; remove it and run its stage again.")
    return content


def without_repeats(runs: Iterable[ScoredRun]) -> list[ScoredRun]:
    """Keep one of runs that were trained twice (under two tags): the first scored one, else the first."""
    kept: dict[tuple, ScoredRun] = {}
    for run in sorted(runs, key=lambda run: not run.counts):
        same = kept.setdefault((*run.place, *(run.info[key] for key in ("method", "variant", "seed"))), run)
        if same is not run:
            print(f"{run.path}: the same run as {same.path}, left out")
    return list(kept.values())


@dataclass(frozen=True, eq=False)
class System:
    """Runs that differ only in their seed, in the order of their seeds."""

    runs: tuple[ScoredRun, ...]

    @property
    def info(self) -> Mapping[str, Any]:
        """``info`` of the first run."""
        return self.runs[0].info

    @property
    def place(self) -> Place:
        """Systems of different places are not compared."""
        return self.runs[0].place

    @property
    def variant(self) -> Variant:
        """Method, sparsity and configuration, which are unique within a place."""
        return Variant(self.info["method"], self.info["sparsity"], self.info["variant"])

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs, ascending."""
        return tuple(run.info["seed"] for run in self.runs)

    def utterances(self, datasets: Sequence[str], metric: str, subset: Collection[str] | None) -> list[tuple[str, str]]:
        """Sorted (dataset, utterance) pairs. Empty if a seed lacks scores on a dataset or the subset is empty.

        Raises InputError if the seeds were scored on different utterances.
        """
        if not all(metric in run.counts.get(name, ()) for run in self.runs for name in datasets):
            return []
        first, *others = ({(name, key) for name in datasets for key in run.counts[name][metric]} for run in self.runs)
        kept = sorted((name, key) for name, key in first if subset is None or key in subset)
        if kept and any(keys != first for keys in others):
            raise InputError(f"{self.runs[0].path} and its other seeds were scored on different utterances.")
        return kept

    def errors(
        self, datasets: Sequence[str], metric: str, subset: Collection[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Errors (seeds, utterances) and reference tokens (utterances,), in the order of ``utterances``.

        None if there are no utterances. Raises InputError if the seeds were scored on different references.
        """
        if not (keys := self.utterances(datasets, metric, subset)):
            return None
        counts = np.array([[run.counts[name][metric][key] for name, key in keys] for run in self.runs])
        counts = counts.reshape(len(self.runs), len(keys), 4)
        lengths = counts[..., :3].sum(axis=2)
        if (lengths != lengths[0]).any():
            raise InputError(f"{self.runs[0].path} and its other seeds were scored with different references.")
        return counts[..., 1:].sum(axis=2), lengths[0]

    def interval(self, datasets: Sequence[str], metric: str, subset: Collection[str] | None = None) -> Interval | None:
        """The metric as a fraction with its 95 % bootstrap interval; None if there are no utterances."""
        if not (data := self.errors(datasets, metric, subset)):
            return None
        interval = error_rate_interval(*data)
        return interval.complement() if metric == ACCURACY else interval


def systems(runs: Iterable[ScoredRun]) -> list[System]:
    """Group runs by everything but the seed: baselines first, then by method, sparsity and variant."""
    groups: dict[tuple, list[ScoredRun]] = {}
    for run in runs:
        groups.setdefault((*run.place, run.info["method"], run.info["variant"]), []).append(run)
    found = [System(tuple(sorted(group, key=lambda run: run.info["seed"]))) for group in groups.values()]
    for system in found:
        if len(set(system.seeds)) < len(system.seeds):
            names = ", ".join(str(run.path) for run in system.runs)
            raise InputError(f"two folders hold the same variant and seed; remove one of: {names}.")
    return sorted(found, key=_order)


def _order(system: System) -> tuple:
    method, sparsity, variant = system.variant
    rank = BASELINES.index(method) if method in BASELINES else len(BASELINES)
    return (*system.place, rank, method, sparsity or 0, variant)


def systems_by_place(runs: Iterable[ScoredRun]) -> dict[Place, list[System]]:
    """Systems of each recipe, upstream and split."""
    groups: dict[Place, list[System]] = {}
    for system in systems(runs):
        groups.setdefault(system.place, []).append(system)
    return groups


def metrics_of(runs: Iterable[ScoredRun]) -> list[str]:
    """The metrics that pages show of these runs, the primary one first."""
    return shown_metrics({metric for run in runs for metrics in run.counts.values() for metric in metrics})


def choose(
    group: Sequence[System], dev: Sequence[str], group_key: Callable[[Variant], Hashable] = by_method
) -> list[System]:
    """The best variant of each method on the validation set, in the order of ``group``. See ``select``."""
    rates = {}
    metric = metrics_of(run for system in group for run in system.runs)[0]
    for system in group:
        if data := system.errors(dev, metric):
            rates[system.variant] = dict(zip(system.seeds, 100 * data[0].sum(axis=1) / data[1].sum(), strict=True))
    chosen = set(best_on_dev(rates, group_key).values())
    return [system for system in group if system.variant in chosen]


def best_run(runs: Sequence[ScoredRun], dev: Sequence[str]) -> ScoredRun:
    """The run that is best on the validation set: of the best variant, the seed with the lowest error rate there.

    All runs must have been scored on ``dev``.
    """
    (best,) = choose(systems(runs), dev, lambda variant: None)
    data = best.errors(dev, metrics_of(runs)[0])
    assert data is not None  # of a chosen system
    return best.runs[int(data[0].sum(axis=1).argmin())]
