"""When a run prunes, and to which sparsity: functions of the number of the update alone, so a resumed run needs no state.

Sparsity is a fraction in [0, 1). ``at(update)`` is what holds after pruning at ``update`` (0: before training), ``due``
tells whether to prune after that update, ``last`` is the update after which the sparsity no longer changes.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

KINDS = ("constant", "linear", "cubic")


class Schedule(Protocol):
    """What the pruning methods ask."""

    @property
    def target(self) -> float:
        """The sparsity that a run ends with."""

    @property
    def last(self) -> int:
        """0 where the sparsity never changes."""

    def at(self, update: int) -> float:
        """Non-decreasing, exactly ``target`` from ``last`` on."""

    def due(self, update: int) -> bool:
        """Whether to prune after ``update`` (from 1)."""


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """From ``initial`` to ``target`` between two updates: linearly as PARP-P, or along the cubic curve of gradual magnitude
    pruning (Zhu and Gupta, arXiv 1710.01878 sec. 3); ``constant`` is the target from the start."""

    target: float
    kind: str = "constant"
    initial: float = 0.0
    begin: int = 0
    end: int = 0
    interval: int | None = None
    """Updates between two prunings; None: only when the ramp ends."""
    repeats: bool = False
    """Prune again and again also where the sparsity stays (removed weights grow back)."""

    @property
    def last(self) -> int:
        return 0 if self.kind == "constant" else self.end

    def progress(self, update: int) -> float:
        """Share of the way from ``initial`` to ``target``, in [0, 1]."""
        if update >= self.last:
            return 1.0
        left = 1.0 - max(update - self.begin, 0) / (self.end - self.begin)
        return 1.0 - left ** (3 if self.kind == "cubic" else 1)

    def at(self, update: int) -> float:
        return between(self.initial, self.target, self.progress(update))

    def due(self, update: int) -> bool:
        rises = self.begin < update <= self.last
        regular = self.interval is not None and update % self.interval == 0
        return regular and (rises or self.repeats) or rises and update == self.last


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """Iterative magnitude pruning: ``rounds`` of equally many updates, each removing the same share of what is left
    (Frankle and Carbin, arXiv 1803.03635 sec. 2), so that the last round is at ``target``."""

    target: float
    rounds: int
    updates: int
    """Of the whole run."""

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The updates after which rounds 2, 3 … begin."""
        return tuple(index * self.updates // self.rounds for index in range(1, self.rounds))

    @property
    def last(self) -> int:
        return self.starts[-1] if self.starts else 0

    def at(self, update: int) -> float:
        running = 1 + sum(start <= update for start in self.starts)
        return self.target if running == self.rounds else 1.0 - (1.0 - self.target) ** (running / self.rounds)

    def due(self, update: int) -> bool:
        return update in self.starts


def between(initial: float, target: float, progress: float) -> float:
    """The sparsity at a share of the way; the target exactly at 1, and all the way for one that lies below ``initial``."""
    return target + (min(initial, target) - target) * (1.0 - progress)
