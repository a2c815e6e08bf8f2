"""``uniform``: a smaller dense model, whose units are drawn at random. It is the control of structured pruning."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from espnet_s3router.methods.structured.fixed import FixedUnits, fixed_units
from espnet_s3router.methods.structured.options import UnitOptions
from espnet_s3router.methods.structured.place import Place


@dataclass(frozen=True, kw_only=True)
class UniformConfig(UnitOptions):
    """Removes the same share of each group, drawn at random without a look at the weights; finetunes the rest.

    Groups are the channels of a convolution, the heads of a layer and the inner units of a layer.
    """

    seed: int = 0
    """Seed of the draw."""


def uniform(upstream: nn.Module, config: UniformConfig) -> FixedUnits:
    """Make the upstream smaller before its finetuning begins."""

    def drawn(expert: nn.Module, places: Sequence[Place]) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(config.seed)
        return {place.name: torch.rand(place.size, generator=generator) for place in places}

    return fixed_units(upstream, config, drawn, everywhere=True)
