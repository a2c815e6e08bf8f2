"""Selection: from real-valued scores to binary masks with an exact number of zeros.

Every function ranks the magnitudes of the scores (``signed``: the scores themselves) and removes the smallest. Of equal
values the lower index goes first, so equal scores give equal masks. ``fast_threshold`` computes the same masks faster.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

ROUNDINGS = ("nearest", "reference")


def zero_count(numel: int, sparsity: float, rounding: str = "nearest") -> int:
    """Number of entries to set to zero among ``numel``.

    ``nearest`` is floor(sparsity * numel + 1/2), but leaves at least one entry. ``reference`` is int((1 - keep) * numel)
    with keep = 1 - sparsity in Python floats. That is the rounding of the S3-Router code (arXiv 2211.01522).
    A sparsity of 1 - keep gives exactly the count of that code for the float ``keep``; 0.07 differs from 1 - 0.93.
    ValueError for a sparsity outside [0, 1) or an unknown rounding.
    """
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(f"sparsity is {sparsity!r}, expected a fraction removed in [0, 1), for example 0.08")
    if rounding == "nearest":
        return min(math.floor(sparsity * numel + 0.5), numel - 1) if numel else 0
    if rounding == "reference":
        return int((1.0 - (1.0 - sparsity)) * numel)
    raise ValueError(f"rounding is {rounding!r}, expected one of {', '.join(ROUNDINGS)}")


def require_finite(scores: Tensor) -> None:
    """Raise ValueError when any score is NaN or infinite."""
    # A finite sum proves finite entries in one pass. The sum of finite entries may overflow, hence the second test.
    if torch.isfinite(scores.sum()) or torch.isfinite(scores).all():
        return
    bad = int((~torch.isfinite(scores)).sum())
    raise ValueError(
        f"{bad} of {scores.numel()} scores are not finite: no mask can be taken from them. "
        "Lower the learning rate or set grad_clip."
    )


def topk_mask(
    scores: Tensor, sparsity: float, rounding: str = "nearest", *, signed: bool = False, numel: int | None = None
) -> Tensor:
    """Boolean mask (shape of ``scores``), False on the ``zero_count`` smallest magnitudes, or smallest scores if ``signed``.

    The sparsity is a fraction of ``numel`` entries, by default of those that have a score. ValueError as in zero_count.
    """
    require_finite(scores)
    ranked = (scores.detach() if signed else scores.detach().abs()).flatten()  # (numel,)
    zeros = zero_count(ranked.numel() if numel is None else numel, sparsity, rounding)
    threshold = exact_threshold(ranked, zeros)
    mask = ranked > threshold
    keep_ties(mask, ranked, threshold, ranked.numel() - zeros - int(mask.sum()))
    return mask.view(scores.shape)


def exact_threshold(magnitude: Tensor, zeros: int) -> float:
    """The ``zeros``-th smallest entry of a flat tensor, by selection without a sort; -inf for ``zeros`` = 0."""
    return float(torch.kthvalue(magnitude, zeros).values) if zeros > 0 else -math.inf


def keep_ties(mask: Tensor, magnitude: Tensor, threshold: float, missing: int) -> int:
    """Set the last ``missing`` entries of ``mask`` whose magnitude equals the threshold to True, in place (flat tensors).

    Returns how many entries were set: fewer than ``missing`` if fewer are equal to the threshold.
    """
    if not missing:
        return 0
    ties = (magnitude == threshold).nonzero().flatten()[-missing:]
    mask[ties] = True
    return ties.numel()


def global_masks(scores: Mapping[str, Tensor], sparsity: float, rounding: str = "nearest") -> dict[str, Tensor]:
    """Boolean masks by name from one ranking over all tensors. Ties go by the order of the mapping, then by index."""
    for tensor in scores.values():
        require_finite(tensor)
    union = torch.cat([tensor.detach().flatten() for tensor in scores.values()]) if scores else torch.empty(0)
    parts = topk_mask(union, sparsity, rounding).split([tensor.numel() for tensor in scores.values()])
    return {name: part.view(tensor.shape) for (name, tensor), part in zip(scores.items(), parts)}


def nm_mask(scores: Tensor, keep: int, group: int) -> Tensor:
    """N:M mask: of every ``group`` neighbours along the last (input) dimension the ``keep`` largest magnitudes stay.

    2:4 is ``keep=2, group=4``, the pattern that sparse tensor cores accelerate (arXiv 2104.08378). ValueError for an
    impossible pattern or an input dimension that is not a multiple of ``group``.
    """
    if not 0 < keep <= group:
        raise ValueError(f"N:M pattern is {keep}:{group}, expected 0 < N <= M, for example 2:4")
    if scores.shape[-1] % group:
        raise ValueError(f"input dimension {scores.shape[-1]} is not a multiple of M={group}: choose another pattern")
    require_finite(scores)
    grouped = scores.detach().abs().reshape(-1, group)
    removed = grouped.argsort(dim=-1, stable=True)[:, : group - keep]  # (groups, group - keep); stable: ties by index
    return torch.ones_like(grouped, dtype=torch.bool).scatter_(1, removed, False).view(scores.shape)


def unit_mask(scores: Tensor, sparsity: float, dim: int = 0, rounding: str = "nearest") -> Tensor:
    """Mask of whole units: slices along ``dim`` (0 output units, 1 input units), ranked by their mean score magnitude."""
    require_finite(scores)
    others = [d for d in range(scores.dim()) if d != dim]
    saliency = scores.detach().abs().mean(dim=others) if others else scores.detach().abs()  # (units,)
    kept = topk_mask(saliency, sparsity, rounding)
    shape = [1] * scores.dim()
    shape[dim] = -1
    return kept.view(shape).expand(scores.shape).contiguous()
