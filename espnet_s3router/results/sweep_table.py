"""Error rates against sparsity from rows of results: one table a metric, means over seeds with the lowest and the highest.

Rows suffice, so a grid may be finished over several runs and machines, whose rows are merged.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from espnet_s3router.errors import InputError
from espnet_s3router.results.bootstrap import Interval
from espnet_s3router.results.rows import ResultRow

WRONG = ("substitutions", "deletions", "insertions")
REFERENCE = ("hits", "substitutions", "deletions")


class Variant(NamedTuple):
    """A method at a sparsity (None: the dense model), in one configuration."""

    method: str
    sparsity: float | None
    variant: str

    @classmethod
    def of(cls, row: ResultRow) -> "Variant":
        """That of the run which a row is about."""
        return cls(row.method, row.sparsity, row.variant)


Rates = dict[Variant, dict[int, float]]  # seed -> error rate in percent
Cells = dict[str, dict[float | None, dict[int, float]]]  # method -> sparsity -> seed -> error rate in percent


def rates(rows: Iterable[ResultRow], sets: Sequence[str], metric: str) -> Rates:
    """Error rates with the sets pooled, by their counts; without the seeds that were not decoded on all of them."""
    counts: dict[Variant, dict[int, dict[tuple[str, str], float]]] = {}
    for row in rows:
        if row.set in sets and row.metric.startswith(f"{metric}_"):
            of_seed = counts.setdefault(Variant.of(row), {}).setdefault(row.seed, {})
            of_seed[row.set, row.metric.removeprefix(f"{metric}_")] = row.value
    needed = {(name, kind) for name in sets for kind in (*WRONG, *REFERENCE)}
    return {
        variant: pooled
        for variant, seeds in counts.items()
        if (pooled := {seed: _rate(found, sets) for seed, found in seeds.items() if found.keys() >= needed})
    }


def _rate(counts: Mapping[tuple[str, str], float], sets: Sequence[str]) -> float:
    wrong, tokens = (sum(counts[name, kind] for name in sets for kind in kinds) for kinds in (WRONG, REFERENCE))
    if not tokens:
        raise InputError(f"{'+'.join(sets)}: no reference token to compute an error rate from")
    return 100 * wrong / tokens


def compared(
    rows: Sequence[ResultRow], dev: Sequence[str], metric: str = "cer"
) -> dict[tuple[str, float | None], dict[Variant, float]]:
    """Of each method at each sparsity the mean on dev of every variant (learning rate …), over the seeds that all have
    (over their own where there are none)."""
    groups: dict[tuple[str, float | None], Rates] = {}
    for variant, seeds in rates(rows, dev, metric).items():
        groups.setdefault(variant[:2], {})[variant] = seeds
    found = {}
    for key, group in groups.items():
        shared = set.intersection(*(set(seeds) for seeds in group.values()))
        found[key] = {v: mean([rate for seed, rate in s.items() if not shared or seed in shared]) for v, s in group.items()}
    return found


def chosen(rows: Sequence[ResultRow], dev: Sequence[str], metric: str = "cer") -> dict[tuple[str, float | None], Variant]:
    """Of each method at each sparsity the variant with the lowest mean on dev, see ``compared``."""
    found = compared(rows, dev, metric)
    return {key: min(means, key=lambda variant: (means[variant], variant.variant)) for key, means in found.items()}


def mean(values: Sequence[float]) -> float:
    """Of one value or more."""
    return sum(values) / len(values)


def cells(rows: Sequence[ResultRow], best: Iterable[Variant], sets: Sequence[str], metric: str) -> Cells:
    """The chosen variants' error rates, in the order of ``best``."""
    found, by_method = rates(rows, sets, metric), Cells()
    for variant in best:
        if variant in found:
            by_method.setdefault(variant.method, {})[variant.sparsity] = found[variant]
    return by_method


def spread(seeds: Mapping[int, float]) -> Interval:
    """Mean, lowest and highest over seeds, as fractions."""
    values = [value / 100 for value in seeds.values()]
    low, high = min(values), max(values)
    return Interval(min(max(mean(values), low), high), low, high)  # rounding may put the mean of equal values beside them


def table(found: Cells, sparsities: Sequence[float]) -> list[list[str]]:
    """Header and rows of cells: a method a row, a sparsity a column, dense models first."""
    seeds = {seed for columns in found.values() for of_seed in columns.values() for seed in of_seed}
    rows = [["method", "dense", *(f"{sparsity:g}" for sparsity in sparsities)]]
    for method, columns in found.items():
        rows.append([method, *(_cell(columns.get(sparsity), len(seeds)) for sparsity in (None, *sparsities))])
    return rows


def _cell(seeds: Mapping[int, float] | None, all_seeds: int) -> str:
    """For example 33.5 [32.9, 34.2], with the number of seeds where some are missing."""
    if not seeds:
        return "–"
    values = list(seeds.values())
    told = f"{mean(values):.1f}"
    if len(values) > 1:
        told += f" [{min(values):.1f}, {max(values):.1f}]"
    if len(values) == all_seeds:
        return told
    return f"{told} (seed{'s' * (len(values) > 1)} {', '.join(map(str, sorted(seeds)))})"


def curves(found: Cells) -> dict[str, list[tuple[float | None, Interval]]]:
    """What is plotted: label -> points of (sparsity, mean with the lowest and highest seed)."""
    labels = {method: f"{method} (dense)" if None in columns else method for method, columns in found.items()}
    return {labels[method]: [(s, spread(seeds)) for s, seeds in columns.items()] for method, columns in found.items()}
