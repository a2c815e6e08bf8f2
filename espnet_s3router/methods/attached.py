"""What a method did to one upstream, and what it does after each update."""

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from espnet_s3router.masks import MaskedTensor, masked_tensors


@dataclass(kw_only=True)
class Attached:
    """Handle of a method on an upstream. Methods that act during training subclass it and override ``step``."""

    upstream: nn.Module
    trained: dict[str, nn.Parameter]
    """Everything the method trains, by its path in the upstream."""
    saved: dict[str, nn.Parameter] = field(default_factory=dict)
    """What a checkpoint needs beside ``trained``: scores of fixed masks."""
    method: str = ""
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for parameter in self.trained.values():
            parameter.requires_grad_(True)

    @property
    def masks(self) -> dict[str, MaskedTensor]:
        """Masked tensors by path, empty for methods without masks."""
        return masked_tensors(self.upstream)

    def step(self, update: int) -> None:
        """Called after optimiser update number ``update`` (from 1), on real updates only."""

    def bytes_added(self) -> int:
        """Bytes to store beside the shared base: one bit per connection of a mask (rounded up per tensor), fp32 for every
        other trained parameter."""
        masks = self.masks
        packed = sum(-(-masked.scores.numel() // 8) for masked in masks.values())
        scores = {id(masked.scores) for masked in masks.values()}
        plain = sum(p.numel() for p in self.trained.values() if id(p) not in scores)
        return packed + 4 * plain
