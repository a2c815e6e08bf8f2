"""What a method did to one upstream, and what it does while a run trains."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.masks import MaskedTensor, masked_tensors


@dataclass(kw_only=True)
class Attached:
    """Handle of a method on an upstream. Methods that act during training subclass it.

    A run calls ``begin`` once, then for every epoch ``begin_epoch``, ``step`` after each update, and ``end_epoch`` before
    the model is validated and saved. Decoding calls none of them: a checkpoint holds all there is.
    """

    upstream: nn.Module
    trained: dict[str, nn.Parameter]
    """Everything the method trains, by its path in the upstream."""
    saved: dict[str, nn.Parameter] = field(default_factory=dict)
    """What a checkpoint needs beside ``trained``: scores of fixed masks, finetuned weights that stay as they are."""
    method: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    startable: dict[str, nn.Parameter] = field(default_factory=dict)
    """What a finetuned model (option ``start``) replaces, by its path in a plain upstream."""
    update: int = 0
    """Optimiser updates so far; kept by whoever calls ``step``."""
    settled: int = 0
    """The update from which the sparsity stays what it is."""

    def __post_init__(self) -> None:
        for parameter in self.trained.values():
            parameter.requires_grad_(True)

    @property
    def masks(self) -> dict[str, MaskedTensor]:
        """Masked tensors by path, empty for methods without masks."""
        return masked_tensors(self.upstream)

    def kept(self) -> dict[str, Tensor]:
        """Boolean masks, by the path of the tensor: True where a weight takes part. Empty for methods without sparsity."""
        return {name: masked.mask for name, masked in self.masks.items()}

    def begin(self, start: Mapping[str, Tensor] | None = None, ranked: Mapping[str, Tensor] | None = None) -> None:
        """Called once before training, of a resumed run too. ``start`` holds a tensor for every key of ``startable``;
        ``ranked`` (option ``initial_mask``) the scores, by path of the tensor, that the first mask is taken from."""
        with torch.no_grad():
            for name, tensor in (start or {}).items():
                self.startable[name].copy_(tensor)

    def begin_epoch(self, epoch: int) -> None:
        """Called before epoch number ``epoch`` (from 1) is trained."""

    def step(self, update: int, optimizer: torch.optim.Optimizer) -> None:
        """Called after optimiser update number ``update`` (from 1), on real updates only."""

    def end_epoch(self) -> None:
        """Called after an epoch was trained: from here to ``begin_epoch`` the model is as it is validated and saved."""

    def training_state(self) -> dict[str, Tensor]:
        """What resuming needs beside the model and the optimiser."""
        return {}

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what ``training_state`` gave; the model was loaded before."""

    def finish_average(self, tensors: dict[str, Tensor]) -> None:
        """Give an average of checkpoints its exact sparsity back, in place; ``tensors`` has the keys of ``trained``."""

    def bytes_added(self) -> int:
        """Bytes to store beside the shared base: one bit per connection of a mask (rounded up per tensor), fp32 for every
        other trained parameter."""
        masks = self.masks
        packed = sum(-(-masked.scores.numel() // 8) for masked in masks.values())
        scores = {id(masked.scores) for masked in masks.values()}
        plain = sum(p.numel() for p in self.trained.values() if id(p) not in scores)
        return packed + 4 * plain
