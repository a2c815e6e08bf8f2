"""Removing units from the modules of an upstream, for every family: rows of what writes them, columns of what reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.deploy.attention import set_heads
from espnet_s3router.methods.structured.place import Place, channel_norm, places_of
from espnet_s3router.upstreams import Family
from espnet_s3router.upstreams.structure import Widths, structure_of


def keep_units(expert: nn.Module, family: Family, places: Sequence[Place], kept: Mapping[str, Tensor]) -> None:
    """Keep only the units with the ascending indices ``kept`` (by group), in place. Groups that keep all stay untouched.

    A block that is not kept loses the bias of its output too, so it adds nothing to the residual path.
    """
    for place in places:
        units = kept[place.name]
        if len(units) == place.size:
            continue
        if place.block:
            expert.get_submodule(place.reader).register_parameter("bias", None)
            continue
        rows = (units[:, None] * place.width + torch.arange(place.width, device=units.device)).flatten()
        for path in place.writers:
            _select(expert.get_submodule(path), rows, 0)
        _select(expert.get_submodule(place.reader), rows, 1)
        for path in place.gains:
            _select_gains(expert.get_submodule(path), rows)
        for path in place.norms:
            _select_gains(channel_norm(expert, path), rows)
        if place.kind == "attention":
            layer = f"{family.layers}.{place.index}"
            set_heads(expert.get_submodule(f"{layer}.{family.attention_module}"), family, len(units))


def take_widths(expert: nn.Module, family: Family, widths: Widths) -> None:
    """Give an upstream these sizes, in place. Its values are then to be loaded."""
    places = places_of(structure_of(expert, family), family, blocks=True)
    present = structure_of(expert, family).widths
    sizes = {
        "conv": widths.channels,
        "attention": widths.heads,
        "attention_block": widths.attention_blocks or present.attention_blocks,
        "feed_forward": widths.inner,
        "feed_forward_block": widths.feed_forward_blocks or present.feed_forward_blocks,
    }
    keep_units(expert, family, places, {place.name: torch.arange(sizes[place.kind][place.index]) for place in places})


@torch.no_grad()
def _select(module: Any, units: Tensor, dim: int) -> None:
    """Keep some outputs (``dim`` 0, with their biases) or inputs (1) of a linear map or convolution."""
    _replace(module, "weight", units, dim)
    if dim == 0 and module.bias is not None:
        _replace(module, "bias", units, 0)
    linear, convolution = (("out_features", "out_channels"), ("in_features", "in_channels"))[dim]
    setattr(module, linear if hasattr(module, linear) else convolution, len(units))


@torch.no_grad()
def _select_gains(norm: Any, units: Tensor) -> None:
    """Keep some channels of a norm. A group norm has a group for each channel."""
    for name in ("weight", "bias"):
        _replace(norm, name, units, 0)
    if hasattr(norm, "num_groups"):
        assert norm.num_groups == norm.num_channels, "a group of several channels would change its statistics"
        norm.num_groups = norm.num_channels = len(units)


def _replace(module: Any, name: str, units: Tensor, dim: int) -> None:
    old = getattr(module, name)
    new = nn.Parameter(old.detach().index_select(dim, units.to(old.device)), requires_grad=old.requires_grad)
    setattr(module, name, new)
