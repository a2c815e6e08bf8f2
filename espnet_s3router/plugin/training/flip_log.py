"""How much the masks change: the share of mask bits that flip. If none flips, the masks learn nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

HEADER = ("epoch", "site", "sparsity", "flipped_since_last", "flipped_since_start")


@dataclass
class FlipLog:
    """Compares the masks of an upstream with those of the last call and those at the start. Keeps packed bits."""

    masks: Callable[[], Mapping[str, Tensor]]
    """Returns the present masks by path (``Attached.kept``)."""
    _start: dict[str, np.ndarray] = field(default_factory=dict)
    _last: dict[str, np.ndarray] = field(default_factory=dict)

    def start(self) -> None:
        """Remember the present masks as those at the start."""
        self.mark()
        self._start = dict(self._last)

    def mark(self) -> None:
        """Remember the present masks as those of the last call, after a resume."""
        self._last = {name: _pack(mask) for name, mask in self.masks().items()}

    def rows(self, epoch: int) -> list[tuple[int, str, float, float, float]]:
        """One row per site (see HEADER, shares in [0, 1]) and a last one named ``all``. Remembers the present masks."""
        rows: list[tuple[int, str, float, float, float]] = []
        totals = np.zeros(4)  # entries, zeros, flips since the last call, flips since the start
        for name, mask in self.masks().items():
            now, numel = _pack(mask), mask.numel()
            counts = (numel - _ones(now), _ones(now ^ self._last[name]), _ones(now ^ self._start[name]))
            zeros, since_last, since_start = counts
            rows.append((epoch, name, zeros / numel, since_last / numel, since_start / numel))
            totals += (numel, *counts)
            self._last[name] = now
        if rows:
            _, zeros, since_last, since_start = totals / totals[0]
            rows.append((epoch, "all", float(zeros), float(since_last), float(since_start)))
        return rows


def _pack(mask: Tensor) -> np.ndarray:
    return np.packbits(mask.flatten().cpu().numpy())


def _ones(packed: np.ndarray) -> int:
    return int(np.bitwise_count(packed).sum())
