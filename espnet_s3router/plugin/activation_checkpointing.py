"""Activation checkpointing: Transformer layers compute their activations again in the backward pass, which takes less
memory and more time. Masks are cached, so none is selected twice."""

import ctypes
import platform
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from espnet_s3router.upstreams import Family

SAMPLES_AT_ONCE = 10 * 16000
"""Audio per call of the frozen frontend, in samples: 0.2 GB of activations at wav2vec2-base dimensions."""
M_MMAP_THRESHOLD = -3
"""Number of this parameter in glibc's malloc.h."""


def checkpoint_layers(expert: nn.Module, family: Family) -> None:
    """Wrap the forward of each Transformer layer, in place. Hooks (s3prl's, layer drop) stay outside and run once."""
    for layer in expert.get_submodule(family.layers).children():
        layer.forward = partial(_recomputed, layer.forward)
    extractor = expert.get_submodule(family.extractor)
    frozen = not any(parameter.requires_grad for parameter in extractor.parameters())
    if frozen and not family.extractor_takes_lengths:
        # Without the layers' activations, the first convolution sets the peak: it has a frame for every five samples.
        extractor.forward = partial(_in_pieces, extractor.forward)
    return_freed_memory()


def _recomputed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)


def _in_pieces(forward: Callable[[Tensor], Tensor], waveforms: Tensor) -> Tensor:
    """(batch, samples) -> (batch, channels, frames), a few utterances at a time. In training only, because a convolution may
    round differently with fewer rows, and evaluation must not depend on ``recompute``."""
    rows = max(1, SAMPLES_AT_ONCE // waveforms.shape[1])
    if len(waveforms) <= rows or not torch.is_grad_enabled():
        return forward(waveforms)
    return torch.cat([forward(piece) for piece in waveforms.split(rows)])


def return_freed_memory() -> None:
    """Make glibc return every freed block above 1 MiB to the system; other C libraries keep their settings.

    By default this limit rises to 32 MiB, and glibc keeps the holes between tensors. They take 0.7 GB at wav2vec2-base
    dimensions and 4 x 10 s of audio, as much as recomputation saves.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 2**20)
        libc.malloc_trim(0)  # returns what loading the upstream has freed
