"""Less memory for more time: what the backward pass needs is computed again, and the frozen frontend runs row by row.

Masks are cached by the version of their scores, so nothing is selected twice.
"""

import ctypes
import platform
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from espnet_s3router.upstreams import Family

M_MMAP_THRESHOLD = -3
"""Number of this parameter in glibc's malloc.h."""


def checkpoint_layers(expert: nn.Module, family: Family) -> None:
    """Wrap the forward of each Transformer layer, in place; hooks (s3prl's, layer drop) stay outside and run once."""
    for layer in expert.get_submodule(family.layers):  # type: ignore[union-attr]
        layer.forward = partial(_recomputed, layer.forward)
    extractor = expert.get_submodule(family.extractor)
    replaced = "forward" in vars(extractor)  # by the cache, which runs row by row already
    frozen = not any(parameter.requires_grad for parameter in extractor.parameters())
    if frozen and not replaced and family.name != "torchaudio":
        # Once the layers keep nothing, the first convolution is the peak: it has a frame for every five samples.
        extractor.forward = partial(_row_by_row, extractor.forward)
    return_freed_memory()


def _recomputed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)


def _row_by_row(forward: Callable[[Tensor], Tensor], waveforms: Tensor) -> Tensor:
    """(batch, samples) -> (batch, channels, frames)."""
    return torch.cat([forward(row) for row in waveforms.split(1)])


def return_freed_memory() -> None:
    """Let glibc give every freed block above 1 MiB back to the system.

    By default it raises that limit to 32 MiB as a program runs and then keeps the holes between the tensors: at wav2vec2-base
    dimensions 0.7 GB, more than the activations that were saved. Does nothing with other C libraries.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**20)
