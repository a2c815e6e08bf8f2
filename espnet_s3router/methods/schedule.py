"""When a run prunes, and to which sparsity.

Sparsity is a fraction in [0, 1). A schedule depends on the number of the update alone, so a resumed run needs no state:

- ``target``: the sparsity at the end of the run,
- ``at(update)``: the sparsity after pruning at ``update`` (0: before training), which never decreases,
- ``due(update)``: True if the run prunes after ``update`` (from 1),
- ``last``: the update from which the sparsity is exactly ``target``; 0 if it never changes.
"""

import math
from dataclasses import dataclass
from functools import cached_property

from espnet_s3router.errors import InputError
from espnet_s3router.masks.ranking import n_of_m
from espnet_s3router.methods.options import check, check_choice, check_count, check_sparsity

KINDS = ("constant", "linear", "cubic")
INTERVAL = 50
"""Default number of updates between two prunings. (PARP's code counts epochs: 5 at ten hours of audio, 50 below.)"""


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """From ``initial`` to ``target`` between the updates ``begin`` and ``end``.

    ``linear`` is the curve of PARP-P (arXiv 2106.05933). ``cubic`` is that of gradual magnitude pruning (Zhu and Gupta,
    arXiv 1710.01878 sec. 3). ``constant`` has the target from the start.
    """

    target: float
    kind: str = "constant"
    initial: float = 0.0
    begin: int = 0
    end: int = 0
    interval: int | None = None
    """Updates between two prunings. None: prune at the end of the ramp only."""
    repeats: bool = False
    """Also prune where the sparsity stays constant, for methods whose removed weights may grow back."""

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
    """Iterative magnitude pruning in rounds of equally many updates (Frankle and Carbin, arXiv 1803.03635 sec. 2).

    Each round removes the same share of the remaining weights. The last round has the ``target``.
    """

    target: float
    rounds: int
    updates: int
    """Updates of the whole run."""
    step: float | None = None
    """Instead: the first round is dense, and each later one removes this share of all weights."""

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The updates after which rounds 2, 3 … begin."""
        return tuple(index * self.updates // self.rounds for index in range(1, self.rounds))

    @property
    def last(self) -> int:
        return self.starts[-1] if self.starts else 0

    def at(self, update: int) -> float:
        current = 1 + sum(start <= update for start in self.starts)
        if current == self.rounds:
            return self.target
        if self.step is not None:
            return min((current - 1) * self.step, self.target)
        return 1.0 - (1.0 - self.target) ** (current / self.rounds)

    def due(self, update: int) -> bool:
        return update in self.starts


def rounds_of(target: float, step: float) -> int:
    """Rounds from a dense one to ``target``, each with ``step`` more removed than the one before."""
    return 1 + math.ceil(target / step - 1e-9)  # 0.3 / 0.1 is above 3 in floats


Schedule = Ramp | Rounds


def between(initial: float, target: float, progress: float) -> float:
    """Sparsity at a share of the way from ``initial`` to ``target``. A target below ``initial`` holds all the way."""
    return target + (min(initial, target) - target) * (1.0 - progress)


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """Options of a ``Ramp``, for methods that may prune gradually."""

    schedule: str = "constant"
    """constant, linear, or cubic (arXiv 1710.01878)."""
    updates: int | None = None
    """Updates of the whole run (as the scheduler's max_steps); needed by linear and cubic."""
    initial_sparsity: float | None = None
    """Sparsity at the start of a ramp; 0 by default."""
    ramp_from: int | None = None
    """The update at which a ramp starts; 0 by default."""
    ramp_until: int | None = None
    """The update at which a ramp reaches the sparsity; half of ``updates`` by default."""
    interval: int | None = None
    """Updates between two prunings; 50 by default."""

    def check_schedule(self, sparsity: float, ranking: str) -> None:
        """Raises InputError for options that contradict each other or lie outside their range."""
        check_choice("schedule", self.schedule, KINDS)
        for name, low in (("updates", 1), ("ramp_from", 0), ("ramp_until", 1), ("interval", 1)):
            check_count(name, getattr(self, name), low)
        if self.schedule == "constant":
            for name in ("initial_sparsity", "ramp_from", "ramp_until"):
                if getattr(self, name) is not None:
                    raise InputError(f"mask_conf: {name} with schedule: constant is a contradiction. Remove one of them")
            return
        if n_of_m(ranking) is not None:
            raise InputError(f"mask_conf: ranking {ranking} with schedule: {self.schedule} is a contradiction: N:M is fixed")
        check(self.updates is not None, "updates", None, f"the updates of the whole run with schedule: {self.schedule}")
        if self.initial_sparsity is not None:
            check_sparsity("initial_sparsity", self.initial_sparsity)
            check(self.initial_sparsity <= sparsity, "initial_sparsity", self.initial_sparsity, f"at most {sparsity}")
        ramp = self.ramp(sparsity)
        allowed = f"updates with ramp_from ({ramp.begin}) < ramp_until <= updates ({self.updates})"
        check(ramp.begin < ramp.end <= (self.updates or 0), "ramp_until", ramp.end, allowed)

    def refuse_idle_mask(self, initial_mask: str | None) -> None:
        """Raises InputError for a given first mask that would remove nothing."""
        if initial_mask is not None and self.schedule != "constant" and not self.initial_sparsity:
            raise InputError("mask_conf: initial_mask with a ramp from 0 would remove nothing: set initial_sparsity too")

    def refuse_idle_interval(self) -> None:
        """Raises InputError for an interval when the method prunes only once."""
        if self.schedule == "constant" and self.interval is not None:
            raise InputError("mask_conf: interval with schedule: constant is a contradiction: this method prunes once then")

    def ramp(self, target: float) -> Ramp:
        """The schedule that these options describe."""
        return Ramp(
            target=target,
            kind=self.schedule,
            initial=self.initial_sparsity or 0.0,
            begin=self.ramp_from or 0,
            end=self.ramp_until or max((self.updates or 0) // 2, 1),
            interval=self.interval or INTERVAL,
        )
