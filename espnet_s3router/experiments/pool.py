"""Running points side by side on the workers of a cluster, with progress and an estimate for whoever waits."""

import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_s3router.experiments.cluster import Workers
from espnet_s3router.experiments.job import Job, Outcome, end_jobs, explain, run_job, tail
from espnet_s3router.experiments.progress import read_progress

if TYPE_CHECKING:
    from distributed import Future


@dataclass
class Grid:
    """Which jobs wait, run and have ended. ``broken``: name -> why."""

    waiting: list[Job]
    running: dict[Job, tuple["Future", float]] = field(default_factory=dict)
    """With the time at which each was handed to a worker."""
    seconds: list[float] = field(default_factory=list)
    """Of the jobs that are done."""
    broken: dict[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> list[Job]:
        """Waiting jobs with nothing left to wait for. What a job comes after and is not among the jobs was done before."""
        unfinished = {job.name for job in (*self.waiting, *self.running)}
        return [job for job in self.waiting if job.after not in unfinished]

    @property
    def ended(self) -> int:
        """Number of jobs that are done or broken."""
        return len(self.seconds) + len(self.broken)


def run_jobs(jobs: Sequence[Job], workers: Workers, *, every: float = 20.0) -> dict[str, str]:
    """Run all jobs and print how far they are every ``every`` seconds. Returns why each of those that failed did; one that
    fails stops only those that come after it. When this is interrupted, what runs ends."""
    grid = Grid(list(jobs))
    try:
        _run(grid, workers, every)
    except BaseException:
        if workers.stay:
            _end(grid, workers)
        raise
    return grid.broken


def _end(grid: Grid, workers: Workers) -> None:
    """End what was handed to workers, who would finish it, as far as they can be reached."""
    with suppress(Exception):
        workers.client.cancel([future for future, _ in grid.running.values()], force=True)
        workers.client.run(end_jobs, [Path.cwd() / job.log for job in grid.running])


def _run(grid: Grid, workers: Workers, every: float) -> None:
    total, told = len(grid.waiting), time.monotonic()
    free, taken = list(workers.gpus or [""] * workers.count), dict[Job, str]()
    while grid.waiting or grid.running:
        for job in grid.ready[: workers.count - len(grid.running)]:
            grid.waiting.remove(job)
            taken[job] = free.pop(0)
            threads = (job.leads and workers.all_threads) or workers.threads
            future = workers.client.submit(run_job, job, Path.cwd(), threads, taken[job], pure=False)
            grid.running[job] = future, time.monotonic()
            print(f"  {job.name}: started, log in {job.log}", flush=True)
        time.sleep(0.1)
        for job in [job for job, (future, _) in grid.running.items() if future.done()]:
            future, _ = grid.running.pop(job)
            free.append(taken.pop(job))
            _ended(grid, job, future, total)
        if time.monotonic() - told >= every and grid.running:
            told = time.monotonic()
            print("  " + "; ".join(_state(job, told - began) for job, (_, began) in grid.running.items()))
            print(f"  {summary(grid, workers.count)}", flush=True)


def _ended(grid: Grid, job: Job, future: "Future", total: int) -> None:
    """Note how a job ended; what comes after a broken one is broken too, and everything that waits without a scheduler."""
    outcome, lost, stopped = Outcome(1, 0.0), "", [other for other in grid.waiting if other.after == job.name]
    try:
        outcome = future.result()
    except CancelledError:
        lost, stopped = "the connection to Dask's scheduler was lost", list(grid.waiting)
    except Exception as error:  # of Dask: a worker that was lost several times
        lost = f"its worker was lost: {error}"
    if not lost and outcome.code == 0:
        grid.seconds.append(outcome.seconds)
        print(f"  [{grid.ended}/{total}] {job.name}: done in {clock(outcome.seconds)}", flush=True)
        return
    reason = lost or explain(outcome, job.log)
    grid.broken[job.name] = reason
    print(f"  [{grid.ended}/{total}] {job.name}: FAILED, {reason}; the end of {job.log}:", file=sys.stderr)
    print("\n".join(f"    {line[:300]}" for line in tail(job.log, 12, outcome.at)), file=sys.stderr, flush=True)
    for other in stopped:
        grid.waiting.remove(other)
        grid.broken[other.name] = f"not started, because {job.name} failed"


def _state(job: Job, elapsed: float) -> str:
    now = read_progress(job.progress)
    if not now.epoch:
        return f"{job.name}: starting, {clock(elapsed)}"
    if now.epoch >= now.max_epoch:
        return f"{job.name}: trained, decoding, {clock(elapsed)}"
    left = now.train_seconds / now.epoch * (now.max_epoch - now.epoch)
    return f"{job.name}: epoch {now.epoch}/{now.max_epoch}, about {clock(left)} of training left"


def summary(grid: Grid, workers: int) -> str:
    """For example: 3 of 20 points ended, 2 run, 15 wait; median 2m10s a point on 2 workers: about 18m25s left."""
    counts = f"{len(grid.running)} run, {len(grid.waiting)} wait"
    total = grid.ended + len(grid.running) + len(grid.waiting)
    told = f"{grid.ended} of {total} points ended, {counts}"
    if not grid.seconds:
        return told
    now = time.monotonic()
    left = time_left(grid.seconds, [now - began for _, began in grid.running.values()], len(grid.waiting), workers)
    typical = clock(statistics.median(grid.seconds))
    return f"{told}; median {typical} a point on {workers} worker{'s' * (workers > 1)}: about {clock(left)} left"


def time_left(seconds: Sequence[float], elapsed: Sequence[float], waiting: int, workers: int) -> float:
    """Seconds until all is done, if every job takes the median of those that are done (``seconds``). ``elapsed``: of those
    that run."""
    typical = statistics.median(seconds)
    rest = [max(0.0, typical - past) for past in elapsed]
    return max((sum(rest) + typical * waiting) / workers, *rest, typical if waiting else 0.0)


def clock(seconds: float) -> str:
    """75.2 -> ``1m15s``."""
    whole = int(seconds + 0.5)
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m" if whole >= 3600 else f"{whole // 60}m{whole % 60:02d}s"
