"""The choice of a configuration on the validation set. It is made here and nowhere else.

Variants of a method (learning rate, targets …) are compared by their error rate on the validation set, and only the best
one is compared with other methods on the test set. Variants may have been trained with different seeds: each is judged by
the seeds that all of them have, so that a variant with more seeds has neither an advantage nor a disadvantage.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from espnet_s3router.errors import InputError
from espnet_s3router.results.rows import ResultRow

ERRORS = ("substitutions", "deletions", "insertions")
REFERENCE = ("hits", "substitutions", "deletions")


class Variant(NamedTuple):
    """A method at a sparsity (None: the dense model) in one configuration. Its runs differ only in their seed."""

    method: str
    sparsity: float | None
    variant: str

    @classmethod
    def of(cls, row: ResultRow) -> "Variant":
        """The variant of the run that a row belongs to."""
        return cls(row.method, row.sparsity, row.variant)


SeedRates = Mapping[int, float]  # seed -> error rate in percent
Rates = Mapping[Variant, SeedRates]


def rates_of_rows(rows: Iterable[ResultRow], datasets: Sequence[str], metric: str) -> Rates:
    """Error rates over the pooled datasets, from the counts in the rows. Seeds not decoded on all of them are left out."""
    counts: dict[Variant, dict[int, dict[tuple[str, str], float]]] = {}
    for row in rows:
        if row.set in datasets and row.metric.startswith(f"{metric}_"):
            of_seed = counts.setdefault(Variant.of(row), {}).setdefault(row.seed, {})
            of_seed[row.set, row.metric.removeprefix(f"{metric}_")] = row.value
    needed = {(name, kind) for name in datasets for kind in (*ERRORS, *REFERENCE)}
    return {
        variant: rates
        for variant, seeds in counts.items()
        if (rates := {seed: _rate(found, datasets) for seed, found in seeds.items() if found.keys() >= needed})
    }


def _rate(counts: Mapping[tuple[str, str], float], datasets: Sequence[str]) -> float:
    wrong, tokens = (sum(counts[name, kind] for name in datasets for kind in kinds) for kinds in (ERRORS, REFERENCE))
    if not tokens:
        raise InputError(f"{'+'.join(datasets)}: no reference token, so an error rate is not defined")
    return 100 * wrong / tokens


def by_method(variant: Variant) -> str:
    """Group key: one choice per method."""
    return variant.method


def by_method_and_sparsity(variant: Variant) -> tuple[str, float | None]:
    """Group key: one choice per method and sparsity."""
    return variant.method, variant.sparsity


def dev_means(
    rates: Rates, group_key: Callable[[Variant], Hashable] = by_method_and_sparsity
) -> dict[Any, dict[Variant, float]]:
    """Mean error rate of each variant over the seeds that all of its group have, or over its own if they share none.

    ``rates``: error rates on the validation set. Returns {group: {variant: mean}}.
    """
    groups: dict[Any, dict[Variant, SeedRates]] = {}
    for variant, seeds in rates.items():
        groups.setdefault(group_key(variant), {})[variant] = seeds
    means: dict[Any, dict[Variant, float]] = {}
    for key, members in groups.items():
        shared = set.intersection(*(set(seeds) for seeds in members.values()))
        means[key] = {
            variant: mean([rate for seed, rate in seeds.items() if not shared or seed in shared])
            for variant, seeds in members.items()
        }
    return means


def best_on_dev(rates: Rates, group_key: Callable[[Variant], Hashable] = by_method_and_sparsity) -> dict[Any, Variant]:
    """The variant of each group with the lowest mean; of equal ones the lowest sparsity, then the first by name."""
    return {
        key: min(means, key=lambda variant: (means[variant], variant.sparsity or 0, variant.variant))
        for key, means in dev_means(rates, group_key).items()
    }


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean of one or more values."""
    return sum(values) / len(values)
