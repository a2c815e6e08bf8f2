"""Several sizes from one run of ``hj``: one set of gates, of which each size closes its own number.

A size subtracts a number of its own from all log alphas: the shift at which the expected sparsity is that of the size. So
the order of the units is common, and a smaller model has only units that a larger one has too. Each update trains one size.
The shift meets its target exactly, so there is no Lagrangian.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.methods.structured.cost import FARTHEST, Constraint, kept_units
from espnet_s3router.methods.structured.gates import Gates
from espnet_s3router.methods.structured.hj import Hj, HjConfig, hj
from espnet_s3router.methods.structured.place import Place
from espnet_s3router.methods.structured.removal import check_reachable

ITERATIONS = 40
"""Halvings of the interval in which the shift is searched: float32 has no more figures."""


@torch.no_grad()
def shift_for(gates: Gates, constraint: Constraint, target: float) -> float:
    """The number that all log alphas are lowered by, so that the expected sparsity is ``target``."""
    low, high = -FARTHEST, FARTHEST
    for _ in range(ITERATIONS):
        middle = (low + high) / 2
        enough = float(constraint.sparsity(gates.expected(middle))) >= target
        low, high = (low, middle) if enough else (middle, high)
    return high


@dataclass(kw_only=True)
class NestedHj(Hj):
    """Trains the model in several sizes. It is validated and saved in the one of option ``sparsity``."""

    size: float = field(init=False)
    """The sparsity of evaluation and extraction."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.size = self.options.sparsity
        self.gates.counts = lambda: nested_counts(self.places, self.gates, self.constraints, self.sizes)
        self.gates.lower = lambda: shift_for(self.gates, self.constraints[0], self.size)

    @property
    def sizes(self) -> tuple[float, ...]:
        """The sparsity of every size, from the largest model to the smallest."""
        return tuple(sorted((self.options.sparsity, *self.options.sizes)))

    def choose(self, sparsity: float) -> None:
        """Evaluate and extract this size from now on. Raises InputError for a sparsity that was not trained."""
        if sparsity not in self.sizes:
            known = ", ".join(map(str, self.sizes))
            raise InputError(f"the sparsity is {sparsity}, expected one that the run was trained for: {known}")
        self.size = sparsity
        self.constraints[:] = [replace(one, target=sparsity) for one in self.constraints]
        self.end_epoch()

    def draw(self) -> None:
        """Draw new gates in the size of this update, whose target rises with the ramp."""
        generator = torch.Generator().manual_seed(self.options.seed + self.update)  # the same on every GPU
        size = self.sizes[int(torch.randint(len(self.sizes), (1,), generator=generator))]
        self.gates.shift = shift_for(self.gates, self.constraints[0], size * self.options.ramp.progress(self.update))
        super().draw()

    def penalty(self) -> tuple[Tensor | None, dict[str, Tensor]]:
        expected = self.constraints[0].sparsity(self.gates.expected(self.gates.shift)).detach().float()
        return None, {f"sparsity_{self.constraints[0].name}": expected}

    def shortfall(self) -> str:
        return ""

    def optimizer_groups(self) -> list[dict[str, Any]]:
        return super().optimizer_groups()[:1]

    def training_state(self) -> dict[str, Tensor]:
        return {}

    def training_state_bytes(self) -> int:
        return 0

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        pass


def nested_counts(
    places: Sequence[Place], gates: Gates, constraints: Sequence[Constraint], sizes: Sequence[float]
) -> dict[str, int]:
    """Units that each group keeps in the size of ``constraints``. The sizes are cut one from another, the largest first."""
    counts = {place.name: place.size for place in places}
    for sparsity in [size for size in sizes if size <= constraints[0].target]:
        present = [replace(one, target=sparsity) for one in constraints]
        counts = kept_units(places, partial(_expected, gates, counts), present)
    return counts


def _expected(gates: Gates, most: Mapping[str, int], place: Place, shift: float) -> float:
    """Expected number of open units of a group after a shift, at most that of the next larger model."""
    return min(gates.groups[place.name].expected(shift), most[place.name])


def hj_in_sizes(upstream: nn.Module, config: HjConfig) -> Hj:
    """``hj``, in one size or in several. Raises InputError also for a size out of reach."""
    attached = hj(upstream, config, NestedHj if config.sizes else Hj)
    for sparsity in config.sizes:
        check_reachable(attached.places, [replace(one, target=sparsity) for one in attached.constraints])
    return attached
