"""``uniform``: a smaller dense model, whose units are drawn at random. It is the control of structured pruning."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.methods.options import check, check_count
from espnet_s3router.methods.structured.fixed import FixedUnits, fixed_units
from espnet_s3router.methods.structured.options import UnitOptions
from espnet_s3router.methods.structured.place import Place


@dataclass(frozen=True, kw_only=True)
class UniformConfig(UnitOptions):
    """Removes the same share of each group, drawn at random without a look at the weights; finetunes the rest.

    Groups are the channels of a convolution, the heads of a layer and the inner units of a layer.
    """

    layers: int | None = None
    """Keep the first so many layers and drop both blocks of the others as a whole (top-layer dropping, arXiv 2004.03844).
    Their layer norms stay. The rest of ``sparsity`` is drawn from the layers that are kept."""
    seed: int = 0
    """Seed of the draw."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("layers", self.layers, 1)
        whole = self.layers is None or {"attention", "feed_forward"} <= set(self.units)
        check(whole, "units", self.units, "attention and feed_forward in it with layers, because whole layers go")


def uniform(upstream: nn.Module, config: UniformConfig) -> FixedUnits:
    """Make the upstream smaller before its finetuning begins."""

    def drawn(expert: nn.Module, places: Sequence[Place]) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(config.seed)
        return {place.name: torch.rand(place.size, generator=generator) for place in places}

    attached = fixed_units(upstream, config, drawn, everywhere=True, layers=config.layers)
    _check_layers(attached, config)
    return attached


def _check_layers(attached: FixedUnits, config: UniformConfig) -> None:
    """Raises InputError for more layers than there are, and for dropped layers that cost more than the target."""
    if config.layers is None:
        return
    most = len(attached.structure.layers) - 1
    check(config.layers <= most, "layers", config.layers, f"a whole number from 1 to {most}")
    left = torch.tensor([place.size * (place.name not in attached.dropped) for place in attached.places])
    for constraint in attached.constraints:
        gone = float(constraint.sparsity(left))
        if gone > constraint.target:
            raise InputError(
                f"mask_conf: layers {config.layers} removes {gone:.4f} of {constraint.name} already, more than sparsity "
                f"{constraint.target}. Keep more layers, or raise the sparsity"
            )
