"""One ranking over many tensors, which are never put together: a sample brackets the threshold, one pass over each tensor
counts what lies below and collects the few inside, and the exact threshold is selected among those."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from espnet_s3router.masks.fast_threshold import select_few
from espnet_s3router.masks.select import exact_threshold, flag, magnitudes, require_finite, zero_count

SAMPLE = 2**18
"""Magnitudes in the sample: at 85 million weights the bracket then holds about one in a hundred."""
DEVIATIONS = 6.0
"""Half width of the bracket in standard deviations of a sampled rank (binomial): a miss costs time, never exactness."""


def global_masks(scores: Mapping[str, Tensor], sparsity: float, rounding: str = "nearest") -> dict[str, Tensor]:
    """Boolean masks by name: the ``zero_count`` smallest magnitudes of all tensors together are removed, wherever they are.
    Ties go by the order of the mapping, then by index."""
    for tensor in scores.values():
        require_finite(tensor)
    flats = [tensor.detach().flatten() for tensor in scores.values()]
    total = sum(flat.numel() for flat in flats)
    zeros = zero_count(total, sparsity, rounding)
    threshold = global_threshold(flats, zeros)
    flagged = [flag(torch.gt, magnitudes(flat), threshold) for flat in flats]
    missing = total - zeros - sum(kept for _, kept in flagged)
    for flat, (mask, _) in zip(reversed(flats), reversed(flagged)):
        if not missing:
            break
        ties = (flat.abs() == threshold).nonzero().flatten()[-missing:]
        mask[ties] = True
        missing -= ties.numel()
    return {name: mask.view(tensor.shape) for (name, tensor), (mask, _) in zip(scores.items(), flagged)}


def global_threshold(flats: Sequence[Tensor], zeros: int, sample: int = SAMPLE) -> float:
    """The ``zeros``-th smallest magnitude of flat tensors; -inf for ``zeros`` = 0."""
    if zeros <= 0:
        return -math.inf
    low, high = bracket(flats, zeros, sample)
    removed, inside = 0, []
    for flat in flats:
        magnitude = magnitudes(flat)
        below, count = flag(torch.le, magnitude, low)
        above, _ = flag(torch.gt, magnitude, high)
        inside.append(select_few(magnitude, below.logical_or_(above).logical_not_()))
        removed += count
    if removed >= zeros and low == 0.0:  # among the weights that are zero already
        return 0.0
    if removed < zeros <= removed + sum(piece.numel() for piece in inside):
        return exact_threshold(torch.cat(inside), zeros - removed)
    return exact_threshold(torch.cat([flat.abs() for flat in flats]), zeros)


def bracket(flats: Sequence[Tensor], zeros: int, sample: int) -> tuple[float, float]:
    """Two magnitudes between which the ``zeros``-th smallest lies almost certainly, from every so-manieth entry."""
    total = sum(flat.numel() for flat in flats)
    sampled = torch.cat([flat[:: max(total // sample, 1)].abs() for flat in flats])
    drawn, share = sampled.numel(), zeros / total
    spread = DEVIATIONS * math.sqrt(drawn * share * (1.0 - share)) + 1.0
    low, high = math.floor(share * drawn - spread), math.ceil(share * drawn + spread)
    return (
        exact_threshold(sampled, low) if low > 0 else 0.0,
        exact_threshold(sampled, high) if high <= drawn else math.inf,
    )
