"""How sparse a live model is: zeros counted in its tensors, for every method alike."""

from typing import Any

import torch
from torch import nn

from espnet_s3router.methods.base import Attached, bitmap_bytes


def sparsity_report(model: nn.Module, attached: Attached) -> dict[str, Any]:
    """Zeros in the masked or pruned tensors of ``attached``, as the forward pass of ``model`` uses them.

    Returns:
        entries, zeros: counts over the masked or pruned tensors.
        masked, upstream, model: these zeros as a share of those tensors, of the weights of the upstream, and of all weights
            of the model. Scores are not weights.
        effective_bytes: size of the whole model, with a bitmap and the nonzero weights in fp32 for each of those tensors,
            and fp32 for all others.
    """
    scores = {id(masked.scores) for masked in attached.masks.values()}
    sizes = [_count_weights(part, scores) for part in (attached.upstream, model)]
    tensors = [_effective(attached.upstream, name) for name in attached.kept()]
    entries = sum(tensor.numel() for tensor in tensors)
    zeros = entries - sum(int(torch.count_nonzero(tensor)) for tensor in tensors)
    masked, upstream, whole = (zeros / size if size else 0.0 for size in (entries, *sizes))
    return {
        "entries": entries,
        "zeros": zeros,
        "masked": masked,
        "upstream": upstream,
        "model": whole,
        "effective_bytes": sum(bitmap_bytes(tensor.numel()) for tensor in tensors) + 4 * (sizes[1] - zeros),
    }


def _count_weights(module: nn.Module, scores: set[int]) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if id(parameter) not in scores)


def _effective(upstream: nn.Module, name: str) -> torch.Tensor:
    """The tensor at ``name`` as the forward pass uses it."""
    owner, _, tensor = name.rpartition(".")
    with torch.no_grad():
        return getattr(upstream.get_submodule(owner), tensor)
