"""Fast paths of selection: the same masks as in ``select``, bit for bit.

The authors' code sorts the whole matrix at every forward pass. Here a bracket is set around the expected threshold, by the
last threshold of the same tensor or by a sample of all tensors. A few streaming passes count the entries below the bracket,
and the exact threshold is selected among the few entries inside. A bracket that misses costs time, never exactness.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from espnet_s3router.masks.select import exact_threshold, keep_ties, require_finite, zero_count

SAMPLE = 2**18
"""Magnitudes in the sample: at 85 million weights the bracket then holds about one in a hundred."""
DEVIATIONS = 6.0
"""Half width of the bracket in standard deviations of a sampled rank (binomial)."""


class ThresholdSearch:
    """Finds the ``zeros``-th smallest magnitude of one tensor again after each optimiser step.

    Scores move little in a step, so the new threshold lies near the last one.
    """

    def __init__(self) -> None:
        self._last: float | None = None
        self._width = 0.0

    def __call__(self, magnitude: Tensor, zeros: int) -> float:
        """``select.exact_threshold`` of ``magnitude`` (flat, non-negative)."""
        if zeros <= 0:
            return -math.inf
        threshold = self._within_bracket(magnitude, zeros)
        if threshold is None:
            threshold = exact_threshold(magnitude, zeros)
        moved = abs(threshold - self._last) if self._last is not None else 0.0
        # Twice the last move, at least 0.1 % of the threshold. Halving lets the width shrink while scores move less.
        self._width = max(2.0 * moved, 0.5 * self._width, 1e-3 * threshold)
        self._last = threshold
        return threshold

    def _within_bracket(self, magnitude: Tensor, zeros: int) -> float | None:
        """The threshold if it lies within ``_width`` of the last one, else None."""
        if self._last is None:
            return None
        low, high = self._last - self._width, self._last + self._width
        below, removed = flag(torch.lt, magnitude, low)
        if removed >= zeros:
            return None
        above, _ = flag(torch.gt, magnitude, high)
        inside = select_few(magnitude, below.logical_or_(above).logical_not_())
        if removed + inside.numel() < zeros:
            return None
        return exact_threshold(inside, zeros - removed)


def fast_topk_mask(
    scores: Tensor, sparsity: float, rounding: str, search: ThresholdSearch, numel: int | None = None
) -> Tensor:
    """``select.topk_mask`` of ``scores``; ``search`` remembers the threshold of this tensor from call to call."""
    require_finite(scores)
    magnitude = magnitudes(scores)
    zeros = zero_count(magnitude.numel() if numel is None else numel, sparsity, rounding)
    threshold = search(magnitude, zeros)
    mask, kept = flag(torch.gt, magnitude, threshold)
    keep_ties(mask, magnitude, threshold, magnitude.numel() - zeros - kept)
    return mask.view(scores.shape)


def fast_global_masks(
    scores: Mapping[str, Tensor], sparsity: float, rounding: str = "nearest", numel: int | None = None
) -> dict[str, Tensor]:
    """``select.global_masks`` of ``scores`` without a copy of all tensors.

    The sparsity is a fraction of ``numel`` entries, by default of those that have a score.
    """
    for tensor in scores.values():
        require_finite(tensor)
    flats = [tensor.detach().flatten() for tensor in scores.values()]
    total = sum(flat.numel() for flat in flats)
    zeros = zero_count(total if numel is None else numel, sparsity, rounding)
    threshold = global_threshold(flats, zeros)
    flagged = [flag(torch.gt, magnitudes(flat), threshold) for flat in flats]
    missing = total - zeros - sum(kept for _, kept in flagged)
    for flat, (mask, _) in zip(reversed(flats), reversed(flagged)):
        if missing:
            missing -= keep_ties(mask, flat.abs(), threshold, missing)
    return {name: mask.view(tensor.shape) for (name, tensor), (mask, _) in zip(scores.items(), flagged)}


def global_threshold(flats: Sequence[Tensor], zeros: int, sample: int = SAMPLE) -> float:
    """The ``zeros``-th smallest magnitude of all flat tensors together; -inf for ``zeros`` = 0."""
    if zeros <= 0:
        return -math.inf
    low, high = sampled_bracket(flats, zeros, sample)
    removed, inside = 0, []
    for flat in flats:
        magnitude = magnitudes(flat)
        below, count = flag(torch.le, magnitude, low)
        above, _ = flag(torch.gt, magnitude, high)
        inside.append(select_few(magnitude, below.logical_or_(above).logical_not_()))
        removed += count
    if removed >= zeros and low == 0.0:  # the weights that are already zero suffice
        return 0.0
    if removed < zeros <= removed + sum(piece.numel() for piece in inside):
        return exact_threshold(torch.cat(inside), zeros - removed)
    return exact_threshold(torch.cat([flat.abs() for flat in flats]), zeros)


def sampled_bracket(flats: Sequence[Tensor], zeros: int, sample: int) -> tuple[float, float]:
    """Two magnitudes with the ``zeros``-th smallest almost certainly between them, from evenly spaced entries."""
    total = sum(flat.numel() for flat in flats)
    sampled = torch.cat([flat[:: max(total // sample, 1)].abs() for flat in flats])
    drawn, share = sampled.numel(), zeros / total
    spread = DEVIATIONS * math.sqrt(drawn * share * (1.0 - share)) + 1.0
    low, high = math.floor(share * drawn - spread), math.ceil(share * drawn + spread)
    return (
        exact_threshold(sampled, low) if low > 0 else 0.0,
        exact_threshold(sampled, high) if high <= drawn else math.inf,
    )


class Scratch(threading.local):
    """A float32 tensor for repeated use: fresh memory from the system costs more than the passes over it.

    Each thread has its own, as two models may select at the same time.
    """

    def __init__(self) -> None:
        self._memory = torch.empty(0, device="cpu")

    def of(self, numel: int) -> Tensor:
        """Flat tensor on the CPU, valid until the next call in this thread."""
        if self._memory.numel() < numel:
            with torch.inference_mode(False):  # an inference tensor could not be written to outside that mode
                self._memory = torch.empty(numel, device="cpu")
        return self._memory[:numel]


_MAGNITUDE, _FLAGS = Scratch(), Scratch()


def fits_scratch(flat: Tensor) -> bool:
    """True for float32 tensors on the CPU that are small enough for an exact float32 sum of ones."""
    return flat.dtype == torch.float32 and flat.device.type == "cpu" and flat.numel() < 2**24


def magnitudes(scores: Tensor) -> Tensor:
    """|scores| as a flat tensor, valid until the next call in this thread."""
    flat = scores.detach().flatten()
    return torch.abs(flat, out=_MAGNITUDE.of(flat.numel())) if fits_scratch(flat) else flat.abs()


def flag(compare: Callable[..., Tensor], flat: Tensor, bound: float) -> tuple[Tensor, int]:
    """Boolean ``compare(flat, bound)`` and the number of its True entries.

    torch vectorises comparisons with a float result, and their sum, but not those with a boolean result. Floats first and
    booleans second take a third of the time.
    """
    if not fits_scratch(flat):
        flags = compare(flat, bound)
        return flags, int(torch.count_nonzero(flags))
    floats = compare(flat, bound, out=_FLAGS.of(flat.numel()))
    return floats.bool(), int(floats.sum())


def select_few(values: Tensor, flags: Tensor) -> Tensor:
    """``values[flags]`` for flat tensors, fast if few flags are True."""
    if flags.numel() % 8 == 0:
        # Eight booleans form one integer: groups without a True entry are skipped eight times as fast.
        groups = flags.view(torch.int64).nonzero().flatten()
        values, flags = values.view(-1, 8)[groups], flags.view(-1, 8)[groups]
    return values[flags]
