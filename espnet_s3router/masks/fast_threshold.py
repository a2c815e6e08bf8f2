"""A warm-started search for the exact selection threshold.

Scores move little between two optimiser steps, so the new threshold lies near the last one. Counting how many magnitudes
lie below a bracket around it, and selecting exactly among the few inside, replaces a selection over the whole tensor: a few
streaming passes instead of a partition (the authors' code sorts the whole matrix at every forward).
"""

import math

import torch
from torch import Tensor

from espnet_s3router.masks.select import exact_threshold, flag


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
        below, removed = flag(torch.lt, magnitude, low)
        if removed >= zeros:
            return None
        above, _ = flag(torch.gt, magnitude, high)
        inside = select_few(magnitude, below.logical_or_(above).logical_not_())
        if removed + inside.numel() < zeros:
            return None
        return exact_threshold(inside, zeros - removed)


def select_few(values: Tensor, wanted: Tensor) -> Tensor:
    """``values[wanted]`` for flat tensors, fast where few are wanted."""
    if wanted.numel() % 8 == 0:
        # Eight booleans are one integer: groups without any are passed over eight times as fast.
        groups = wanted.view(torch.int64).nonzero().flatten()
        values, wanted = values.view(-1, 8)[groups], wanted.view(-1, 8)[groups]
    return values[wanted]
