"""Score initialisation: where the search for a mask begins.

No initial score is exactly zero. Only |s| selects, and its straight-through gradient is zero at s = 0, so a score of zero
would never change. (With the binary inits of the authors' code, removed weights can never return.)
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from espnet_s3router.masks.select import topk_mask

COMPARABLE_INITS = ("ori", "ori_sampled", "magnitude")
"""Inits whose scores can be compared between tensors, as a global ranking does. They keep the order of the weights."""
INITS = (*COMPARABLE_INITS, "kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal", "constant")
SIGNED_INITS = ("zeros", "kaiming_uniform")
"""Inits of scores that are ranked with their signs (arXiv 2005.07683): their gradient at zero is not zero."""


def init_scores(
    weight: Tensor,
    init: str,
    *,
    scale: float = 1.0,
    generator: torch.Generator | None = None,
    spread: float | None = None,
) -> Tensor:
    """Scores (shape of ``weight``, float32, contiguous) by the named init, divided by ``scale``.

    ``ori`` and ``ori_sampled`` are the order-preserving random initialisation of S3-Router (arXiv 2211.01522). The order of
    |s| is that of |W|, so the first mask is exactly the magnitude mask. The values are evenly spread from 0 to ``spread``
    (1 / sqrt(fan_in) by default), with random signs: in closed form for ``ori``, drawn and sorted for ``ori_sampled``.
    ``kaiming_uniform`` has the same spread in random order. ``magnitude`` is W. ``constant`` has one magnitude and random
    signs. ``zeros`` serves signed scores alone. ValueError for an unknown init or a scale that is not above 0.
    """
    if init not in (*INITS, "zeros"):
        raise ValueError(f"init is {init!r}, expected one of {', '.join(INITS)}")
    if scale <= 0:
        raise ValueError(f"score scale is {scale}, expected a number above 0")
    weight = weight.detach().to(torch.float32)
    if init == "zeros":
        return torch.zeros_like(weight, memory_format=torch.contiguous_format)
    fan_in, fan_out = fans(weight)
    spread = 1.0 / math.sqrt(fan_in) if spread is None else spread
    if init == "ori":
        scores = rank_magnitudes(weight).mul_(spread) * random_signs(weight, generator)
    elif init == "ori_sampled":
        drawn = torch.rand(weight.numel(), generator=generator).mul_(spread).sort().values
        scores = torch.empty_like(drawn).scatter_(0, stable_order(weight), drawn).view(weight.shape)
        scores = scores * random_signs(weight, generator)
    elif init == "magnitude":
        scores = weight
    elif init == "kaiming_uniform":
        # a = sqrt(5), as torch.nn.Linear and the paper's code use it: U(-1/sqrt(fan_in), 1/sqrt(fan_in))
        scores = uniform(weight, spread, generator)
    elif init == "kaiming_normal":
        scores = torch.randn(weight.shape, generator=generator) * math.sqrt(2.0 / fan_in)
    elif init == "xavier_uniform":
        scores = uniform(weight, math.sqrt(6.0 / (fan_in + fan_out)), generator)
    elif init == "xavier_normal":
        scores = torch.randn(weight.shape, generator=generator) * math.sqrt(2.0 / (fan_in + fan_out))
    else:
        scores = random_signs(weight, generator) / math.sqrt(fan_in)
    return away_from_zero((scores / scale).contiguous())


def init_scores_together(
    weights: Sequence[Tensor],
    init: str,
    sparsity: float,
    rounding: str = "nearest",
    *,
    scale: float = 1.0,
    generator: torch.Generator | None = None,
) -> list[Tensor]:
    """Scores for one ranking over all ``weights``, by one of COMPARABLE_INITS; the first mask is the magnitude mask.

    All tensors share one spread. With a spread per tensor, those with many inputs would lose their weights first.
    ``sparsity`` and ``rounding`` are those of the first mask, see ``separate``.
    """
    if init not in COMPARABLE_INITS:
        raise ValueError(f"init is {init!r}, expected one of {', '.join(COMPARABLE_INITS)}: other scores cannot be compared")
    sizes = [weight.numel() for weight in weights]
    spread = sum(size / math.sqrt(fans(weight)[0]) for size, weight in zip(sizes, weights)) / sum(sizes)
    flat = torch.cat([weight.detach().flatten() for weight in weights])
    scores = init_scores(flat, init, scale=scale, generator=generator, spread=spread)
    separate(scores, topk_mask(flat, sparsity, rounding))
    return [part.view(weight.shape).clone() for part, weight in zip(scores.split(sizes), weights)]


def unit_saliency(weight: Tensor, dim: int) -> Tensor:
    """Mean magnitude of each slice along ``dim``, with size 1 in the other dimensions."""
    return weight.detach().abs().mean(dim=[d for d in range(weight.dim()) if d != dim], keepdim=True)


def separate(scores: Tensor, kept: Tensor) -> None:
    """Raise kept scores that rounding has made equal to a removed one to the next float, in place.

    Float32 has 16.8 million values between 0 and 1, fewer than a large model has weights. So neighbouring ranks may have
    equal scores, and the first mask would choose among them by index. ``scores`` has the order that ``kept`` was taken from.
    """
    if kept.all():
        return
    removed = scores[~kept].abs().max()
    tied = kept & (scores.abs() == removed)
    above = torch.nextafter(removed, torch.full_like(removed, math.inf))
    scores[tied] = above.copysign(scores[tied])


def fans(weight: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, *kernel); a vector has a single output."""
    if weight.dim() < 2:
        return max(weight.numel(), 1), 1
    kernel = weight[0, 0].numel()
    return weight.shape[1] * kernel, weight.shape[0] * kernel


def stable_order(weight: Tensor) -> Tensor:
    """Flat indices of the entries by ascending magnitude, ties by index."""
    return weight.abs().flatten().argsort(stable=True)


def rank_magnitudes(weight: Tensor) -> Tensor:
    """(rank + 1/2) / N in (0, 1) for each entry. The smallest magnitude has rank 0."""
    numel = weight.numel()
    levels = (torch.arange(numel, dtype=torch.float64) + 0.5).div_(numel).to(torch.float32)
    return torch.empty(numel).scatter_(0, stable_order(weight), levels).view(weight.shape)


def random_signs(weight: Tensor, generator: torch.Generator | None) -> Tensor:
    """+1 or -1 with equal chance, shape of ``weight``."""
    return torch.randint(0, 2, weight.shape, generator=generator, dtype=torch.float32).mul_(2.0).sub_(1.0)


def uniform(weight: Tensor, bound: float, generator: torch.Generator | None) -> Tensor:
    """U(-bound, bound), shape of ``weight``."""
    return torch.rand(weight.shape, generator=generator).mul_(2.0 * bound).sub_(bound)


def away_from_zero(scores: Tensor) -> Tensor:
    """Scores of exactly zero become the smallest normal number: still last in the ranking, but with a gradient."""
    return torch.where(scores == 0, torch.full_like(scores, torch.finfo(scores.dtype).tiny), scores)
