"""LoRA: a trained low-rank update of each target (arXiv 2106.09685 sec. 4.1).

The update lies on the tensor, not on its layer. So it also acts in fairseq-style attention, which reads tensors directly.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from espnet_s3router.masks.names import parameter_key
from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.options import check, check_targets, sites_of


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Replaces W by W + (alpha / rank) B A on each target; works in every family."""

    rank: int = 8
    """Columns of B and rows of A."""
    alpha: float = 16.0
    """The update is multiplied by alpha / rank."""
    targets: str | tuple[str, ...] = "attention"
    """As for masks; the paper adapts attention."""
    seed: int = 0
    """Seed of the initial values of A. B starts from zeros."""

    def __post_init__(self) -> None:
        check(self.rank >= 1, "rank", self.rank, "a whole number from 1")
        check(self.alpha > 0, "alpha", self.alpha, "a number above 0")
        check_targets(self)


class LowRank(nn.Module):
    """weight (out, in, ...) -> weight + (alpha / rank) * B A, with A (rank, in * ...) and B (out, rank), initially zero."""

    def __init__(self, weight: Tensor, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        sizes = sizes_of(weight.shape, rank)
        bound = 1.0 / math.sqrt(sizes["a"][1])  # Kaiming uniform with a = sqrt(5), as the paper's code
        self.a = nn.Parameter(torch.rand(sizes["a"], generator=generator).mul_(2 * bound).sub_(bound))
        self.b = nn.Parameter(torch.zeros(sizes["b"]))
        self.scaling = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        return low_rank_sum(weight, self.a, self.b, self.scaling)


def sizes_of(shape: torch.Size, rank: int) -> dict[str, list[int]]:
    """Shapes of the parameters of a ``LowRank``, by name."""
    return {"a": [rank, math.prod(shape[1:])], "b": [shape[0], rank]}


def low_rank_sum(weight: Tensor, a: Tensor, b: Tensor, scaling: float) -> Tensor:
    """weight (out, in, ...) + scaling * b a, with b (out, rank) and a (rank, in * ...)."""
    return weight + scaling * (b @ a).view(weight.shape)


def lora(upstream: nn.Module, config: LoraConfig) -> Attached:
    """Put a low-rank update on every target and train only these."""
    generator = torch.Generator().manual_seed(config.seed)
    trained: dict[str, nn.Parameter] = {}
    for site in sites_of(upstream, config.targets):
        update = LowRank(getattr(site.module, site.tensor), config.rank, config.alpha, generator)
        parametrize.register_parametrization(site.module, site.tensor, update)
        trained |= {parameter_key(site.name, "a"): update.a, parameter_key(site.name, "b"): update.b}
    return Attached(upstream=upstream, trained=trained)
