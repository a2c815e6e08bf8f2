"""``omp_units``: one-shot magnitude pruning of whole units, then finetuning of the rest (Li et al., arXiv 1608.08710)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.methods.options import check_choice, require_start
from espnet_s3router.methods.structured.fixed import FixedUnits, fixed_units
from espnet_s3router.methods.structured.options import UnitOptions
from espnet_s3router.methods.structured.place import Place

RANKINGS = ("global", "group")


@dataclass(frozen=True, kw_only=True)
class OmpUnitsConfig(UnitOptions):
    """Removes the units with the smallest norms from a finetuned model (``start``) at once; finetunes the rest."""

    ranking: str = "global"
    """global (one threshold for all units), or group: the convolutions, the heads and the inner units of each layer lose the
    same share."""
    rewind: bool = False
    """After pruning, return to the pretrained weights, as ``omp`` does. By default the weights of ``start`` train on, as in
    Li et al. sec. 3.4."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("ranking", self.ranking, RANKINGS)
        require_start(self.start)


def omp_units(upstream: nn.Module, config: OmpUnitsConfig) -> FixedUnits:
    """Prune the units of a finetuned model once by their norms; finetune the rest. The head of ``start`` is not rewound."""
    return fixed_units(upstream, config, norms, everywhere=config.ranking == "group", rewind=config.rewind)


def norms(expert: nn.Module, places: Sequence[Place]) -> dict[str, Tensor]:
    """Root mean square (units,) of the weights of each unit, by group: its L2 norm, normalised by the number of weights, as
    in Molchanov et al. (arXiv 1611.06440 sec. 2.2, minimum weight).

    A unit has the rows that write it and the columns that read it; biases do not count.
    """
    return {place.name: _norms(expert, place) for place in places}


@torch.no_grad()
def _norms(expert: Any, place: Place) -> Tensor:
    weights = [expert.get_submodule(path).weight for path in place.writers]
    weights.append(expert.get_submodule(place.reader).weight.transpose(0, 1))
    return torch.cat([weight.reshape(place.size, -1) for weight in weights], dim=1).square().mean(1).sqrt()
