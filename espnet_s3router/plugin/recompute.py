"""Activation checkpointing of the Transformer layers: their activations are computed again in the backward pass.

Masks are cached by the version of their scores, so nothing is selected twice.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from espnet_s3router.upstreams import Family


def checkpoint_layers(expert: nn.Module, family: Family) -> None:
    """Wrap the forward of each Transformer layer, in place; hooks (s3prl's, layer drop) stay outside and run once."""
    for layer in expert.get_submodule(family.layers):  # type: ignore[union-attr]
        layer.forward = partial(_recomputed, layer.forward)


def _recomputed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)
