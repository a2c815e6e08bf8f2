"""Selection: from real-valued scores to binary masks with an exact number of zeros.

Every function reads the magnitude of the scores, removes the smallest and breaks ties by index (the lower index is removed
first), so the same scores always give the same mask. Non-finite scores are refused.
"""

import math
import threading
from collections.abc import Callable

import torch
from torch import Tensor

ROUNDINGS = ("nearest", "reference")


def zero_count(numel: int, sparsity: float, rounding: str = "nearest") -> int:
    """Number of entries to set to zero among ``numel``.

    ``nearest`` is floor(sparsity * numel + 1/2), but leaves at least one entry. ``reference`` is int((1 - keep) * numel)
    with keep = 1 - sparsity, in Python floats: the rounding of the S3-Router code (arXiv 2211.01522), up to one lower.
    """
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(f"sparsity is {sparsity!r}, expected a fraction removed in [0, 1), for example 0.08")
    if rounding == "nearest":
        return min(math.floor(sparsity * numel + 0.5), numel - 1) if numel else 0
    if rounding == "reference":
        return int((1.0 - (1.0 - sparsity)) * numel)
    raise ValueError(f"rounding is {rounding!r}, expected one of {', '.join(ROUNDINGS)}")


def require_finite(scores: Tensor) -> None:
    """Raise ValueError when any score is NaN or infinite. One pass: the sum of finite magnitudes may overflow, so a
    suspicious sum is checked entry by entry."""
    if torch.isfinite(scores.sum()) or torch.isfinite(scores).all():
        return
    bad = int((~torch.isfinite(scores)).sum())
    raise ValueError(
        f"{bad} of {scores.numel()} scores are not finite: no mask can be taken from them. "
        "Lower the learning rate or set grad_clip."
    )


def exact_threshold(magnitude: Tensor, zeros: int) -> float:
    """The ``zeros``-th smallest entry of a flat tensor, by selection (kthvalue), not a sort; -inf for ``zeros`` = 0."""
    return float(torch.kthvalue(magnitude, zeros).values) if zeros > 0 else -math.inf


Search = Callable[[Tensor, int], float]
"""Finds what ``exact_threshold`` finds, perhaps faster."""


def topk_mask(scores: Tensor, sparsity: float, rounding: str = "nearest", search: Search = exact_threshold) -> Tensor:
    """Boolean mask (shape of ``scores``) that is False on the ``zero_count`` smallest magnitudes."""
    require_finite(scores)
    magnitude = magnitudes(scores)
    zeros = zero_count(magnitude.numel(), sparsity, rounding)
    return mask_from_threshold(magnitude, search(magnitude, zeros), zeros).view(scores.shape)


class Scratch(threading.local):
    """A float32 tensor that is reused: memory fresh from the system costs more than the passes that are made over it. Each
    thread has its own: two models may select at a time."""

    def __init__(self) -> None:
        self._memory = torch.empty(0, device="cpu")

    def of(self, numel: int) -> Tensor:
        """Flat tensor on the CPU, valid until the thread's next call."""
        if self._memory.numel() < numel:
            with torch.inference_mode(False):  # else it could not be written to outside of it
                self._memory = torch.empty(numel, device="cpu")
        return self._memory[:numel]


_MAGNITUDE, _FLAGS = Scratch(), Scratch()


def fits_scratch(flat: Tensor) -> bool:
    """float32 on the CPU, small enough that a float32 sum of ones is exact."""
    return flat.dtype == torch.float32 and flat.device.type == "cpu" and flat.numel() < 2**24


def magnitudes(scores: Tensor) -> Tensor:
    """|scores|, flat; valid until the next call."""
    flat = scores.detach().flatten()
    return torch.abs(flat, out=_MAGNITUDE.of(flat.numel())) if fits_scratch(flat) else flat.abs()


def flag(compare: Callable[..., Tensor], flat: Tensor, bound: float) -> tuple[Tensor, int]:
    """Boolean ``compare(flat, bound)`` and how often it is True.

    torch vectorises a comparison that gives floats, and their sum, but not one that gives booleans: the detour is three
    times as fast.
    """
    if not fits_scratch(flat):
        flags = compare(flat, bound)
        return flags, int(torch.count_nonzero(flags))
    floats = compare(flat, bound, out=_FLAGS.of(flat.numel()))
    return floats.bool(), int(floats.sum())


def mask_from_threshold(magnitude: Tensor, threshold: float, zeros: int) -> Tensor:
    """Boolean mask of a flat tensor with exactly ``zeros`` False entries, ``threshold`` being its ``zeros``-th smallest:
    all below go, and of those equal to it the first ones."""
    mask, kept = flag(torch.gt, magnitude, threshold)
    missing = magnitude.numel() - zeros - kept
    if missing:
        mask[(magnitude == threshold).nonzero().flatten()[-missing:]] = True
    return mask


def nm_mask(scores: Tensor, keep: int, group: int) -> Tensor:
    """N:M mask: of every ``group`` neighbours along the last (input) dimension the ``keep`` largest magnitudes stay.

    2:4 is ``keep=2, group=4``: the pattern sparse tensor cores accelerate (arXiv 2104.08378).
    """
    if not 0 < keep <= group:
        raise ValueError(f"N:M pattern is {keep}:{group}, expected 0 < N <= M, for example 2:4")
    if scores.shape[-1] % group:
        raise ValueError(f"input dimension {scores.shape[-1]} is not a multiple of M={group}: choose another pattern")
    require_finite(scores)
    grouped = scores.detach().abs().reshape(-1, group)
    # Stable ascending order within a group: the first (group - keep) are removed, ties by index.
    removed = grouped.argsort(dim=-1, stable=True)[:, : group - keep]
    return torch.ones_like(grouped, dtype=torch.bool).scatter_(1, removed, False).view(scores.shape)


def unit_mask(scores: Tensor, sparsity: float, dim: int = 0, rounding: str = "nearest") -> Tensor:
    """Mask of whole units: slices along ``dim`` (0 output units, 1 input units) ranked by the mean magnitude of their
    scores; all entries of a removed unit are False."""
    require_finite(scores)
    others = [d for d in range(scores.dim()) if d != dim]
    saliency = scores.detach().abs().mean(dim=others) if others else scores.detach().abs()  # (units,)
    kept = topk_mask(saliency, sparsity, rounding)
    shape = [1] * scores.dim()
    shape[dim] = -1
    return kept.view(shape).expand(scores.shape).contiguous()
