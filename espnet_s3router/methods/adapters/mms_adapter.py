"""Adapters as in MMS (Pratap et al. 2023, arXiv 2305.13516): a small trained network behind every Transformer layer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.options import check
from espnet_s3router.upstreams import family_of

DEVIATION = 0.02
"""Standard deviation of the initial weights, ``initializer_range`` of transformers."""


@dataclass(frozen=True, kw_only=True)
class MmsAdapterConfig:
    """A bottleneck adapter after every layer, as for the languages of MMS; works in every family."""

    bottleneck: int = 16
    """Width of an adapter in units, ``adapter_attn_dim`` of transformers. MMS has 16."""
    seed: int = 0
    """Seed of the initial weights."""

    def __post_init__(self) -> None:
        check(self.bottleneck >= 1, "bottleneck", self.bottleneck, "a whole number from 1")


class LayerAdapter(nn.Module):
    """x (..., dim) -> x + linear_2(relu(linear_1(norm(x)))).

    Names and initial values are those of ``Wav2Vec2AttnAdapterLayer`` in transformers, which loads the adapters of MMS.
    """

    def __init__(self, dim: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.linear_1 = nn.Linear(dim, width)
        self.linear_2 = nn.Linear(width, dim)
        with torch.no_grad():
            for linear in (self.linear_1, self.linear_2):
                linear.weight.copy_(torch.randn(linear.weight.shape, generator=generator) * DEVIATION)
                linear.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear_2(torch.relu(self.linear_1(self.norm(x))))


def mms_adapter(upstream: nn.Module, config: MmsAdapterConfig) -> Attached:
    """Put an adapter behind every layer and train only these.

    It belongs to the layer's forward. So hooks on the layer see its output, and a layer that LayerDrop skips skips it too.
    """
    family = family_of(upstream)
    generator = torch.Generator().manual_seed(config.seed)
    trained: dict[str, nn.Parameter] = {}
    for index, layer in enumerate(upstream.get_submodule(family.layers).children()):
        output: Any = layer.get_submodule(family.feed_forward[1])
        adapter = LayerAdapter(output.weight.shape[0], config.bottleneck, generator)
        layer.add_module("mms_adapter", adapter)
        layer.forward = partial(_adapted, layer.forward, adapter)
        prefix = f"{family.layers}.{index}.mms_adapter"
        trained |= {f"{prefix}.{name}": parameter for name, parameter in adapter.named_parameters()}
    return Attached(upstream=upstream, trained=trained)


def _adapted(forward: Callable[..., Any], adapter: LayerAdapter, *args: Any, **kwargs: Any) -> Any:
    """Some layers return a tuple whose first entry is the hidden state."""
    output = forward(*args, **kwargs)
    if isinstance(output, tuple):
        return (adapter(output[0]), *output[1:])
    return adapter(output)
