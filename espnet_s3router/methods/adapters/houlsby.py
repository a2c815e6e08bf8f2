"""Houlsby adapters: trained bottlenecks behind attention and feed-forward of every layer (arXiv 1902.00751 sec. 2.1)."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.finetune import norms
from espnet_s3router.methods.options import check
from espnet_s3router.upstreams import family_of


@dataclass(frozen=True, kw_only=True)
class HoulsbyConfig:
    """Bottleneck adapters after attention and feed-forward of every layer; works in every family."""

    bottleneck: int = 32
    """Width of an adapter in units."""
    train_norms: bool = False
    """Also train the layer norms of the Transformer, as the paper does."""
    seed: int = 0
    """Seed of the initial values of the adapters."""

    def __post_init__(self) -> None:
        check(self.bottleneck >= 1, "bottleneck", self.bottleneck, "a whole number from 1")


class Bottleneck(nn.Module):
    """x (..., dim) -> x + up(gelu(down(x))). ``up`` is initially zero, so the adapter starts as the identity."""

    def __init__(self, dim: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.down = nn.Linear(dim, width)
        self.up = nn.Linear(width, dim)
        with torch.no_grad():
            self.down.weight.copy_(torch.randn(width, dim, generator=generator) / math.sqrt(dim))
            self.down.bias.zero_()
            self.up.weight.zero_()
            self.up.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(nn.functional.gelu(self.down(x)))


def houlsby(upstream: nn.Module, config: HoulsbyConfig) -> Attached:
    """Put an adapter on both outputs of every layer, before the residual is added. Train these, with ``train_norms`` the
    layer norms too."""
    family = family_of(upstream)
    generator = torch.Generator().manual_seed(config.seed)
    trained = norms(upstream) if config.train_norms else {}
    for index, layer in enumerate(upstream.get_submodule(family.layers).children()):
        output: Any = layer.get_submodule(family.feed_forward[1])
        for place in (family.attention_module, family.feed_forward[1]):
            adapter = Bottleneck(output.weight.shape[0], config.bottleneck, generator)
            host = layer.get_submodule(place)
            host.add_module("houlsby", adapter)
            host.register_forward_hook(_adapt)
            prefix = f"{family.layers}.{index}.{place}.houlsby"
            trained |= {f"{prefix}.{name}": parameter for name, parameter in adapter.named_parameters()}
    return Attached(upstream=upstream, trained=trained)


def _adapt(module: nn.Module, inputs: Any, output: Any) -> Any:
    """Forward hook. Attention blocks return a tuple whose first entry is the hidden state."""
    adapter: Bottleneck = module.houlsby  # type: ignore[assignment]
    if isinstance(output, tuple):
        return (adapter(output[0]), *output[1:])
    return adapter(output)
