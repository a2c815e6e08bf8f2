"""Options of pruning by and by, shared by every method that can."""

from dataclasses import dataclass

from espnet_s3router.errors import InputError
from espnet_s3router.methods.options import check, check_sparsity, n_of_m
from espnet_s3router.methods.schedule import KINDS, Ramp

INTERVAL = 50
"""Updates between two prunings where nothing is said. (PARP's code counts epochs: 5 at ten hours of audio, 50 below.)"""


@dataclass(frozen=True, kw_only=True)
class GradualConfig:
    """How sparsity rises; shared by every method that may prune by and by."""

    schedule: str = "constant"
    """constant, linear, or cubic (arXiv 1710.01878)."""
    updates: int | None = None
    """Updates of the whole run (as the scheduler's max_steps); needed by linear and cubic."""
    initial_sparsity: float | None = None
    """Where a ramp begins; 0 if not given."""
    ramp_from: int | None = None
    """The update at which a ramp begins; 0 if not given."""
    ramp_until: int | None = None
    """The update at which a ramp reaches the sparsity; half of ``updates`` if not given."""
    interval: int | None = None
    """Updates between two prunings; 50 if not given."""

    def check_schedule(self, sparsity: float, ranking: str) -> None:
        """InputError for a schedule that cannot be run."""
        check(self.schedule in KINDS, "schedule", self.schedule, f"one of {', '.join(KINDS)}")
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
        whole = f"updates with ramp_from ({ramp.begin}) < ramp_until <= updates ({self.updates})"
        check(ramp.begin < ramp.end <= (self.updates or 0), "ramp_until", ramp.end, whole)

    def refuse_idle_interval(self) -> None:
        """InputError for an interval where nothing happens again."""
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


def check_count(name: str, value: object, low: int) -> None:
    """A whole number from ``low``, or None."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    check(value is None or (whole and value >= low), name, value, f"a whole number from {low}")  # type: ignore[operator]
