"""What gates cost: sparsity as a share of parameters or MACs, expected while training and exact in evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from espnet_s3router.methods.structured.place import Place, widths_of
from espnet_s3router.upstreams.count import macs, parameters
from espnet_s3router.upstreams.structure import Structure, Widths

CNN = ("spectrum", "convolutions", "projection")
TRANSFORMER = ("position", "attention", "feed_forward")
COARSE_FIRST = (("attention_block", "feed_forward_block"), ("attention",), ("conv", "feed_forward"))
"""Kinds of places, in the order in which their numbers of units are rounded."""
ITERATIONS = 50
"""Halvings of the interval in which the shift of all gates is searched: far below one unit."""
FARTHEST = 60.0
"""A shift that opens or closes every gate."""


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """A sparsity that must be reached: the share of a cost, which depends on the number of open units of each group.

    Every count of ``upstreams.count`` is linear in each of these numbers. Only neighbouring convolutions multiply theirs.
    So it is ``constant + linear · n + products · (n[:-1] * n[1:])``. Expected numbers of independent gates give its expected
    value exactly.
    """

    name: str
    target: float
    units: tuple[str, ...]
    """Kinds of units that the cost depends on."""
    dense: float
    """The cost of the upstream before pruning."""
    constant: float
    linear: Tensor
    """(groups,), float64."""
    products: Tensor
    """(groups - 1,), float64."""

    def sparsity(self, numbers: Tensor) -> Tensor:
        """Share of the cost that is removed, a scalar; ``numbers`` (groups,) of open units."""
        numbers = numbers.double()
        linear, products = self.linear.to(numbers.device), self.products.to(numbers.device)
        cost = self.constant + (linear * numbers).sum() + (products * numbers[:-1] * numbers[1:]).sum()
        return 1.0 - cost / self.dense


def constraint(
    name: str,
    target: float,
    structure: Structure,
    places: Sequence[Place],
    units: Sequence[str],
    cost: Callable[[Widths], int],
) -> Constraint:
    """The constraint for a count of sizes. Its coefficients are read off the count itself."""

    def at(*opened: int) -> int:
        sizes = {place.name: int(index in opened) for index, place in enumerate(places)}
        return cost(widths_of(structure, sizes))

    groups, none = range(len(places)), at()
    linear = [at(index) - none for index in groups]
    products = [at(index, index + 1) - linear[index] - linear[index + 1] - none for index in groups[:-1]]
    return Constraint(
        name=name,
        target=target,
        units=tuple(units),
        dense=float(cost(structure.widths)),
        constant=float(none),
        linear=torch.tensor(linear, dtype=torch.float64),
        products=torch.tensor(products, dtype=torch.float64),
    )


def constraints_of(
    structure: Structure, places: Sequence[Place], variant: str, sparsity: float, cnn_sparsity: float | None, seconds: float
) -> list[Constraint]:
    """The constraints of a variant of HJ-Pruning (arXiv 2302.14132 sec. 2.2).

    ``size`` counts parameters, ``macs`` MACs of an utterance of ``seconds``. ``sep_macs`` counts those of the frontend and
    of the Transformer, each with a sparsity of its own.
    """
    kinds = tuple(dict.fromkeys(place.kind for place in places))

    def part(names: tuple[str, ...]) -> Callable[[Widths], Any]:
        return lambda widths: sum(count for name, count in macs(structure, seconds, widths).items() if name in names)

    def total_parameters(widths: Widths) -> Any:
        return sum(parameters(structure, widths).values())

    if variant == "size":
        return [constraint("parameters", sparsity, structure, places, kinds, total_parameters)]
    if variant == "macs":
        return [constraint("macs", sparsity, structure, places, kinds, part(CNN + TRANSFORMER))]
    cnn = sparsity if cnn_sparsity is None else cnn_sparsity
    layers = tuple(kind for kind in kinds if kind != "conv")
    return [
        constraint("cnn_macs", cnn, structure, places, ("conv",), part(CNN)),
        constraint("transformer_macs", sparsity, structure, places, layers, part(TRANSFORMER)),
    ]


def kept_units(
    places: Sequence[Place], expected: Callable[[Place, float], float], constraints: Sequence[Constraint]
) -> dict[str, int]:
    """How many units each group keeps in evaluation, so that every constraint is met as nearly as single units allow.

    ``expected``: (group, shift) -> its number of open units, which falls as the shift rises. One shift of all groups meets
    the target (as in DPHuBERT's code, where it shifts the log alphas of gates). Whole blocks are rounded first, then heads,
    because they cost more than a channel or an inner unit. The others are shifted once more for what rounding has left.
    """
    numbers = torch.tensor([float(place.size) for place in places], dtype=torch.float64)
    for constraint in constraints:
        free = [index for index, place in enumerate(places) if place.kind in constraint.units]
        for kinds in COARSE_FIRST:
            coarse = [index for index in free if places[index].kind in kinds]
            if not coarse:
                continue
            exact = _shifted(places, expected, constraint, numbers, free)
            numbers = torch.where(_only(coarse, len(numbers)), _rounded(exact, constraint, coarse), exact)
            free = [index for index in free if index not in coarse]
    return {place.name: round(float(number)) for place, number in zip(places, numbers)}


def _shifted(
    places: Sequence[Place],
    expected: Callable[[Place, float], float],
    constraint: Constraint,
    numbers: Tensor,
    free: Sequence[int],
) -> Tensor:
    """``numbers`` (groups,) with the expected ones of the ``free`` groups, after the shift that meets the target."""

    def after(shift: float) -> Tensor:
        shifted = numbers.clone()
        for index in free:
            shifted[index] = max(expected(places[index], shift), places[index].minimum)
        return shifted

    low, high = -FARTHEST, FARTHEST
    for _ in range(ITERATIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if constraint.sparsity(after(middle)) >= constraint.target else (middle, high)
    return after(high)


def _rounded(numbers: Tensor, constraint: Constraint, free: Sequence[int]) -> Tensor:
    """``numbers`` (groups,) with whole ones in the ``free`` groups: the largest fractions are rounded up, as many as bring
    the sparsity nearest to the target."""
    fractions = numbers - numbers.floor()
    counts = torch.where(_only(free, len(numbers)), numbers.floor(), numbers)
    best, error = counts.clone(), abs(constraint.sparsity(counts) - constraint.target)
    for index in sorted((index for index in free if fractions[index] > 0), key=lambda index: -float(fractions[index])):
        counts[index] += 1
        if (now := abs(constraint.sparsity(counts) - constraint.target)) < error:
            best, error = counts.clone(), now
    return best


def _only(indices: Sequence[int], size: int) -> Tensor:
    """Boolean (size,), True at ``indices``."""
    mask = torch.zeros(size, dtype=torch.bool)
    mask[list(indices)] = True
    return mask
