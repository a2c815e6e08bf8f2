"""Adapter baselines on every family: LoRA on the tensor, Houlsby bottlenecks behind the blocks."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.options import HoulsbyConfig, LoraConfig
from espnet_s3router.methods.routing import sites_of
from espnet_s3router.upstreams import family_of


class LowRank(nn.Module):
    """weight (out, in, ...) -> weight + (alpha / rank) * B A, with B (out, rank) zero at first."""

    def __init__(self, weight: Tensor, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        fan_in = weight[0].numel()
        bound = 1.0 / math.sqrt(fan_in)  # Kaiming uniform with a = sqrt(5), as the paper's code
        self.a = nn.Parameter(torch.rand(rank, fan_in, generator=generator).mul_(2 * bound).sub_(bound))
        self.b = nn.Parameter(torch.zeros(weight.shape[0], rank))
        self.scaling = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scaling * (self.b @ self.a).view(weight.shape)


class Bottleneck(nn.Module):
    """x (..., dim) -> x + up(gelu(down(x))); ``up`` is zero at first, so the adapter starts as the identity."""

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


def lora(upstream: nn.Module, config: LoraConfig) -> Attached:
    """A low-rank update on every target; parametrizing the tensor also reaches fairseq-style attention."""
    generator = torch.Generator().manual_seed(config.seed)
    trained: dict[str, nn.Parameter] = {}
    for site in sites_of(upstream, config.targets):
        update = LowRank(getattr(site.module, site.tensor), config.rank, config.alpha, generator)
        parametrize.register_parametrization(site.module, site.tensor, update)
        owner = f"{site.name.rpartition('.')[0]}.parametrizations.{site.tensor}.0"
        trained |= {f"{owner}.a": update.a, f"{owner}.b": update.b}
    return Attached(upstream=upstream, trained=trained)


def houlsby(upstream: nn.Module, config: HoulsbyConfig) -> Attached:
    """An adapter on the output of attention and of feed-forward in every layer, before the residual is added."""
    family = family_of(upstream)
    generator = torch.Generator().manual_seed(config.seed)
    trained: dict[str, nn.Parameter] = {}
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
    """Forward hook: attention blocks return a tuple whose first entry is the hidden state."""
    adapter: Bottleneck = module.houlsby  # type: ignore[assignment]
    if isinstance(output, tuple):
        return (adapter(output[0]), *output[1:])
    return adapter(output)
