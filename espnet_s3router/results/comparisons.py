"""Comparisons of two systems: a bootstrap interval of the relative difference, and matched pairs on word errors."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from espnet_s3router.errors import InputError
from espnet_s3router.results.bootstrap import Difference, relative_difference
from espnet_s3router.results.matched_pairs import holm, matched_pairs
from espnet_s3router.results.rows import WORD_METRICS, errors_named
from espnet_s3router.results.scored_runs import ScoredRun, System

Key = TypeVar("Key")


@dataclass(frozen=True)
class Comparison:
    """A system against a baseline, on one test set and metric."""

    system: System
    baseline: System
    difference: Difference
    p_value: float | None
    """matched pairs on errors of words or phones; None for other metrics, and if an experiment folder lacks alignments"""
    test: str = "matched pairs"

    def text(self, unit: str = "") -> str:
        """For example: -31.2 [-36.1, -26.0] better, in percent. ``unit`` follows the first number."""
        value, low, high = (f"{100 * x:+.1f}" for x in (self.difference.value, self.difference.low, self.difference.high))
        return f"{value}{unit} [{low}, {high}] {self.difference.verdict}"

    def p_text(self) -> str:
        """``, p = .03`` with two digits, or three below .01; empty without a p-value."""
        if self.p_value is None:
            return ""
        if self.p_value < 0.001:
            return ", p < .001"
        return f", p = {self.p_value:.{3 if self.p_value < 0.01 else 2}f}".replace(" 0.", " .")

    def seeds(self) -> str:
        """The seeds that were compared, if the systems have different ones; empty otherwise."""
        ours, theirs = set(self.system.seeds), set(self.baseline.seeds)
        if ours == theirs:
            return ""
        sides = [ours & theirs] if ours & theirs else [ours, theirs]
        return ", " + " against ".join(f"seed{'s' * (len(s) > 1)} {', '.join(map(str, sorted(s)))}" for s in sides)

    def line(self, name: str, baseline: str, metric: str) -> str:
        """For example: finetune vs head_only: -31.2 % relative WER [-36.1, -26.0] better, p = .03 (matched pairs)."""
        p_value = self.p_text() and f"{self.p_text()} ({self.test})"
        return f"{name} vs {baseline}: {self.text(f' % relative {errors_named(metric)}')}{p_value}{self.seeds()}"


def compare(
    system: System, baseline: System, datasets: Sequence[str], metric: str, subset: Collection[str] | None = None
) -> Comparison | None:
    """Compare on the pooled datasets, paired by the seeds that both have; without shared seeds, all are used unpaired.

    None if one was not decoded on the datasets or the baseline makes no error there. Raises InputError if the two were
    scored on different references.
    """
    ours, theirs = (s.errors(datasets, metric, subset) for s in (system, baseline))
    if ours is None or theirs is None:
        return None
    if not np.array_equal(ours[1], theirs[1]):
        both = f"{system.runs[0].path} and {baseline.runs[0].path}"
        raise InputError(f"{both}: scored on different references; decode and score both again.")
    shared = set(system.seeds) & set(baseline.seeds)
    kept = [[not shared or seed in shared for seed in s.seeds] for s in (system, baseline)]
    errors, baseline_errors = ours[0][kept[0]], theirs[0][kept[1]]
    if not baseline_errors.any():
        return None
    difference, p_value = relative_difference(errors, baseline_errors, ours[1], paired_seeds=bool(shared)), None
    if metric in WORD_METRICS:
        keys = system.utterances(datasets, metric, subset)
        runs = ([run for run, used in zip(s.runs, k, strict=True) if used] for s, k in zip((system, baseline), kept))
        sides = [[_word_alignments(run, keys) for run in side] for side in runs]
        p_value = matched_pairs(*sides).p if all(map(all, sides)) else None
    return Comparison(system, baseline, difference, p_value)


def _word_alignments(run: ScoredRun, keys: Sequence[tuple[str, str]]) -> list[str]:
    """Alignments of the utterances; an empty list if the folder lacks them."""
    if not all(key in run.word_alignments.get(name, ()) for name, key in keys):
        return []
    return [run.word_alignments[name][key] for name, key in keys]


def corrected(comparisons: Mapping[Key, Comparison]) -> dict[Key, Comparison]:
    """The comparisons with p-values corrected by Holm's method, if there are several p-values."""
    p_values = {key: comparison.p_value for key, comparison in comparisons.items() if comparison.p_value is not None}
    if len(p_values) < 2:
        return dict(comparisons)
    by_key = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    test = "matched pairs, Holm"
    return {key: replace(c, p_value=by_key[key], test=test) if key in by_key else c for key, c in comparisons.items()}
