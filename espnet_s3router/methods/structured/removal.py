"""What methods that remove whole units have in common: their handle, and how an upstream is made ready for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.masks.names import original_key
from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.finetune import finetuned
from espnet_s3router.methods.structured.cost import Constraint, constraints_of
from espnet_s3router.methods.structured.options import UnitOptions
from espnet_s3router.methods.structured.place import Place, places_of, refuse, widths_of
from espnet_s3router.upstreams import family_of
from espnet_s3router.upstreams.count import parameters
from espnet_s3router.upstreams.structure import Structure, Widths, structure_of


@dataclass(kw_only=True)
class Structured(Attached):
    """Removes whole units. The model that is validated and saved always has the final sparsity."""

    options: UnitOptions
    structure: Structure
    """The sizes before pruning."""
    places: list[Place]
    constraints: list[Constraint]

    def open_units(self) -> dict[str, Tensor]:
        """Boolean (units,) by group, True for units that are open in evaluation."""
        raise NotImplementedError

    def reached(self) -> list[float]:
        """The sparsity of each constraint in evaluation."""
        kept = torch.tensor([int(mask.sum()) for mask in self.open_units().values()])
        return [float(constraint.sparsity(kept)) for constraint in self.constraints]

    def widths(self) -> Widths:
        """The sizes in evaluation."""
        return widths_of(self.structure, {name: int(mask.sum()) for name, mask in self.open_units().items()})

    def removed(self) -> int:
        present, kept = parameters(self.structure), parameters(self.structure, self.widths())
        return sum(present.values()) - sum(kept.values())


def fields_of(upstream: nn.Module, config: UnitOptions, *, blocks: bool = False) -> dict[str, Any]:
    """The fields of a handle on an upstream that has no gates yet. ``trained`` has the names behind gates. With
    ``blocks``, whole blocks are places too.

    Raises InputError for units that cannot be removed and for a sparsity out of reach.
    """
    family = family_of(upstream)
    structure = structure_of(upstream, family)
    refuse(structure, family, config.units)
    places = places_of(structure, family, config.units, blocks=blocks)
    constraints = constraints_of(structure, places, config.variant, config.sparsity, config.cnn_sparsity, config.seconds)
    check_reachable(places, constraints)
    weights, transformer = finetuned(upstream, config.train_cnn), finetuned(upstream, False)
    return {
        "upstream": upstream,
        "trained": _behind_gates(weights, places),
        "startable": weights,
        "start_may_lack": frozenset(weights) - frozenset(transformer),
        "options": config,
        "structure": structure,
        "places": places,
        "constraints": constraints,
    }


def _behind_gates(weights: Mapping[str, nn.Parameter], places: Sequence[Place]) -> dict[str, nn.Parameter]:
    """The same parameters, with the names that they have once ``places`` have gates."""
    gated = {name for place in places for name in place.gated}
    return {original_key(name) if name in gated else name: parameter for name, parameter in weights.items()}


def check_reachable(places: Sequence[Place], constraints: Sequence[Constraint]) -> None:
    """Raises InputError for a sparsity that is out of reach even if all gates close."""
    least = torch.tensor([place.minimum for place in places])
    for constraint in constraints:
        most = float(constraint.sparsity(least))
        if constraint.target > most:
            raise InputError(
                f"mask_conf: sparsity {constraint.target} of {constraint.name} cannot be reached: with units "
                f"{', '.join(dict.fromkeys(place.kind for place in places))} at most {most:.4f} can be removed, which "
                f"leaves {1 - most:.4f} of the cost. Lower the sparsity, or add units"
            )
