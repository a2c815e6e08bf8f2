"""One report on how sparse a live model is, whatever made it so: counted in its tensors, not taken from its options."""

from typing import Any

import torch
from torch import nn

from espnet_s3router.methods.base import Attached


def sparsity_report(model: nn.Module, attached: Attached) -> dict[str, Any]:
    """Zeros among the masked or pruned tensors of ``attached``, as they take part in the forward pass of ``model``.

    ``entries`` and ``zeros`` are counts over those tensors; ``masked``, ``upstream`` and ``model`` the share of these zeros
    in them, in all weights of the upstream and in all weights of the model (scores are no weights). ``effective_bytes`` is
    what the whole model takes when each of those tensors is stored as a bitmap and its nonzero weights in fp32, any other
    tensor in fp32: the sum of ceil(n / 8) + 4 * nonzero, and of 4 * n.
    """
    scores = {id(masked.scores) for masked in attached.masks.values()}
    sizes = [_weights(part, scores) for part in (attached.upstream, model)]
    tensors = [_effective(attached.upstream, name) for name in attached.kept()]
    entries = sum(tensor.numel() for tensor in tensors)
    zeros = entries - sum(int(torch.count_nonzero(tensor)) for tensor in tensors)
    bitmaps = sum(-(-tensor.numel() // 8) for tensor in tensors)
    masked, upstream, whole = (zeros / size if size else 0.0 for size in (entries, *sizes))
    return {
        "entries": entries,
        "zeros": zeros,
        "masked": masked,
        "upstream": upstream,
        "model": whole,
        "effective_bytes": bitmaps + 4 * (sizes[1] - zeros),
    }


def _weights(module: nn.Module, scores: set[int]) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if id(parameter) not in scores)


def _effective(upstream: nn.Module, name: str) -> torch.Tensor:
    """The tensor at ``name`` as the forward pass sees it."""
    owner, _, tensor = name.rpartition(".")
    with torch.no_grad():
        return getattr(upstream.get_submodule(owner), tensor)
