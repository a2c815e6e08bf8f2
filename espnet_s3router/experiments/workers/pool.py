"""Runs the jobs of a grid side by side on the workers of a cluster. Prints progress and an estimate of the time left."""

import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_s3router.experiments.layout import read_progress
from espnet_s3router.experiments.workers.cluster import Workers
from espnet_s3router.experiments.workers.job import Job, Outcome, explain, tail
from espnet_s3router.experiments.workers.worker import end_jobs, run_job
from espnet_s3router.text_format import clock

if TYPE_CHECKING:
    from distributed import Future


@dataclass
class Grid:
    """The state of all jobs of a grid."""

    waiting: list[Job]
    running: dict[Job, tuple["Future", float]] = field(default_factory=dict)
    """Each with the time at which a worker got it."""
    seconds: list[float] = field(default_factory=list)
    """Durations of the jobs that are done."""
    failures: dict[str, str] = field(default_factory=dict)
    """Name of each failed job -> reason."""

    @property
    def ready(self) -> list[Job]:
        """Waiting jobs whose predecessor is done. A predecessor outside the grid was done before."""
        unfinished = {job.name for job in (*self.waiting, *self.running)}
        return [job for job in self.waiting if job.after not in unfinished]

    @property
    def ended(self) -> int:
        """Number of jobs that are done or failed."""
        return len(self.seconds) + len(self.failures)


def run_jobs(jobs: Sequence[Job], workers: Workers, *, every: float = 20.0) -> dict[str, str]:
    """Run all jobs; print progress every ``every`` seconds. Returns the reason of each failure by job name.

    A failure stops only the jobs that come after the failed one. An interruption ends the running jobs.
    """
    grid = Grid(list(jobs))
    try:
        _run(grid, workers, every)
    except BaseException:
        if workers.stay:
            _end_running(grid, workers)
        raise
    return grid.failures


def _end_running(grid: Grid, workers: Workers) -> None:
    """End the running jobs on workers that stay, as far as these can be reached."""
    with suppress(Exception):
        workers.client.cancel([future for future, _ in grid.running.values()], force=True)
        workers.client.run(end_jobs, [Path.cwd() / job.log for job in grid.running])


def _run(grid: Grid, workers: Workers, every: float) -> None:
    total, printed_at = len(grid.waiting), time.monotonic()
    free_gpus, gpus_of = list(workers.gpus or [""] * workers.count), dict[Job, str]()
    while grid.waiting or grid.running:
        for job in grid.ready[: workers.count - len(grid.running)]:
            grid.waiting.remove(job)
            gpus_of[job] = free_gpus.pop(0)
            threads = (job.leads and workers.all_threads) or workers.threads
            future = workers.client.submit(run_job, job, Path.cwd(), threads, gpus_of[job], pure=False)
            grid.running[job] = future, time.monotonic()
            print(f"  {job.name}: started, log in {job.log}", flush=True)
        time.sleep(0.1)
        for job in [job for job, (future, _) in grid.running.items() if future.done()]:
            future, _ = grid.running.pop(job)
            free_gpus.append(gpus_of.pop(job))
            _record_end(grid, job, future, total)
        if time.monotonic() - printed_at >= every and grid.running:
            printed_at = time.monotonic()
            print("  " + "; ".join(_state(job, printed_at - start) for job, (_, start) in grid.running.items()))
            print(f"  {summary(grid, workers.count)}", flush=True)


def _record_end(grid: Grid, job: Job, future: "Future", total: int) -> None:
    """Record how a job ended. After a failure its successors fail too; without a scheduler all waiting jobs fail."""
    outcome, lost, stopped = Outcome(1, 0.0), "", [other for other in grid.waiting if other.after == job.name]
    try:
        outcome = future.result()
    except CancelledError:
        lost, stopped = "the connection to Dask's scheduler was lost", list(grid.waiting)
    except Exception as error:  # raised by Dask for a worker that was lost several times
        lost = f"its worker was lost: {error}"
    if not lost and outcome.code == 0:
        grid.seconds.append(outcome.seconds)
        print(f"  [{grid.ended}/{total}] {job.name}: done in {clock(outcome.seconds)}", flush=True)
        return
    reason = lost or explain(outcome, job.log)
    grid.failures[job.name] = reason
    print(f"  [{grid.ended}/{total}] {job.name}: FAILED, {reason}; the end of {job.log}:", file=sys.stderr)
    print("\n".join(f"    {line[:300]}" for line in tail(job.log, 12, outcome.log_start)), file=sys.stderr, flush=True)
    for other in stopped:
        grid.waiting.remove(other)
        grid.failures[other.name] = f"not started, because {job.name} failed"


def _state(job: Job, elapsed: float) -> str:
    now = read_progress(job.progress)
    if not now.epoch:
        return f"{job.name}: starting, {clock(elapsed)}"
    if now.epoch >= now.max_epoch:
        return f"{job.name}: trained, decoding, {clock(elapsed)}"
    left = now.train_seconds / now.epoch * (now.max_epoch - now.epoch)
    return f"{job.name}: epoch {now.epoch}/{now.max_epoch}, about {clock(left)} of training left"


def summary(grid: Grid, workers: int) -> str:
    """For example: 3 of 20 runs ended, 2 run, 15 wait; median 2m10s a run on 2 workers: about 18m25s left."""
    counts = f"{len(grid.running)} run, {len(grid.waiting)} wait"
    total = grid.ended + len(grid.running) + len(grid.waiting)
    text = f"{grid.ended} of {total} runs ended, {counts}"
    if not grid.seconds:
        return text
    now = time.monotonic()
    left = time_left(grid.seconds, [now - start for _, start in grid.running.values()], len(grid.waiting), workers)
    typical = clock(statistics.median(grid.seconds))
    return f"{text}; median {typical} a run on {workers} worker{'s' * (workers > 1)}: about {clock(left)} left"


def time_left(seconds: Sequence[float], elapsed: Sequence[float], waiting: int, workers: int) -> float:
    """Seconds until all jobs have ended, if each takes the median of ``seconds``, the durations of the jobs that are done.

    ``elapsed``: seconds that each running job has run so far; ``waiting``: number of jobs that have not started.
    """
    typical = statistics.median(seconds)
    rest = [max(0.0, typical - past) for past in elapsed]
    return max((sum(rest) + typical * waiting) / workers, *rest, typical if waiting else 0.0)
