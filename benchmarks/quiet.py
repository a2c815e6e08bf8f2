"""Times calls, and tells from the processor time that this process got whether other processes disturbed a measurement."""

import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import NamedTuple

REQUIRED_SHARE = 0.9


class Clocks(NamedTuple):
    """Readings in seconds: wall time, processor time of all threads of this process, busy time of all processors.

    ``busy`` is None where the system does not tell it.
    """

    wall: float
    own: float
    busy: float | None


def read_clocks() -> Clocks:
    """Read all clocks now."""
    return Clocks(time.perf_counter(), time.process_time(), busy_seconds())


def busy_seconds(stat: Path = Path("/proc/stat")) -> float | None:
    """Return the time for which the processors of this machine were busy, summed over them, from Linux's /proc/stat."""
    try:
        user, nice, system, _, _, interrupts, soft_interrupts, stolen = map(int, stat.read_text().split()[1:9])
    except (OSError, ValueError):
        return None
    return (user + nice + system + interrupts + soft_interrupts + stolen) / os.sysconf("SC_CLK_TCK")


class LoadMeter:
    """Measures, in named regions, the share of the available processor time that this process got.

    ``threads`` of this process compute on a machine with ``processors``. Available is the time of these threads, except time
    in which they were idle although no other process took it: a step has parts that one thread computes alone.
    """

    def __init__(
        self, threads: int, *, clocks: Callable[[], Clocks] = read_clocks, processors: int = os.cpu_count() or 1
    ) -> None:
        self.threads, self.processors = threads, processors
        self._clocks = clocks
        self._got: defaultdict[str, float] = defaultdict(float)
        self._available: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def region(self, name: str) -> Iterator[None]:
        """Measure the block. Regions of one name are added up."""
        start = self._clocks()
        yield
        end = self._clocks()
        wall, own = end.wall - start.wall, end.own - start.own
        available = self.threads * wall
        if start.busy is not None and end.busy is not None:
            others = end.busy - start.busy - own
            taken = max(0.0, others - max(0, self.processors - self.threads) * wall)  # from our threads
            available = min(available, own + taken)
        self._got[name] += own
        self._available[name] += available

    def shares(self) -> dict[str, float]:
        """Return the share of each region, in [0, 1]."""
        return {name: min(1.0, got / max(self._available[name], 1e-9)) for name, got in self._got.items()}

    def quiet(self) -> bool:
        """True if this process got enough processor time in every region. Otherwise a warning names the worst."""
        name, share = min(self.shares().items(), key=lambda item: item[1])
        if share < REQUIRED_SHARE:
            print(
                f"warning: other processes ran during the measurement. {name} got {share:.0%} of the available processor "
                f"time, expected at least {REQUIRED_SHARE:.0%}. Do not use these figures; end the others and run again.",
                file=sys.stderr,
            )
        return share >= REQUIRED_SHARE


def seconds_of(call: Callable[[], object], rounds: int, meter: LoadMeter | None = None) -> float:
    """Median seconds of a call, after one that is not timed. ``meter`` measures the load meanwhile."""
    call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        with meter.region("calls") if meter else nullcontext():
            call()
        times.append(time.perf_counter() - start)
    return median(times)
