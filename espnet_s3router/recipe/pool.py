"""Running points side by side, each in a process of its own, with progress for whoever waits."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_s3router.recipe.results import write_atomic


@dataclass
class Job:
    """One command; its output goes to ``log``."""

    name: str
    command: Sequence[str]
    log: Path
    progress: Path
    """The run's ``progress.tsv``."""
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    code: int | None = field(default=None)


def run_jobs(jobs: Sequence[Job], parallel: int, *, every: float = 20.0) -> list[Job]:
    """Run all jobs, ``parallel`` at a time, and print a line about each every ``every`` seconds. Returns those that failed;
    one that fails does not stop the others. The cores are shared out evenly; an interrupt ends the children too."""
    cores = os.cpu_count() or 1
    threads = str(max(1, cores // max(1, parallel)))
    environment = os.environ | {"OMP_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}
    waiting, running, told = list(jobs), [], time.monotonic()
    done = 0
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                running.append(_start(waiting.pop(0), environment))
            time.sleep(0.2)
            for job in [job for job in running if job.process is not None and job.process.poll() is not None]:
                running.remove(job)
                done += 1
                _ended(job, f"{done}/{len(jobs)}")
            if time.monotonic() - told >= every and running:
                told = time.monotonic()
                print("  " + "; ".join(_state(job) for job in running), flush=True)
    finally:
        for job in running:
            if job.process is not None and job.process.poll() is None:
                job.process.terminate()
                job.process.wait()
    return [job for job in jobs if job.code != 0]


def _start(job: Job, environment: dict[str, str]) -> Job:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        job.process = subprocess.Popen(job.command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    job.began = time.monotonic()
    print(f"  {job.name}: started, log in {job.log}", flush=True)
    return job


def _ended(job: Job, count: str) -> None:
    assert job.process is not None
    job.code = job.process.returncode
    seconds = time.monotonic() - job.began
    if job.code == 0:
        print(f"  [{count}] {job.name}: done in {clock(seconds)}", flush=True)
        return
    print(f"  [{count}] {job.name}: FAILED with exit code {job.code}; the end of {job.log}:", file=sys.stderr)
    tail = job.log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
    print("\n".join(f"    {line[:300]}" for line in tail), file=sys.stderr, flush=True)


def _state(job: Job) -> str:
    from espnet_s3router.recipe.progress import read_progress

    now = read_progress(job.progress)
    elapsed = time.monotonic() - job.began
    if not now.epoch:
        return f"{job.name}: starting, {clock(elapsed)}"
    if now.epoch >= now.max_epoch:
        return f"{job.name}: trained, decoding, {clock(elapsed)}"
    left = now.train_seconds / now.epoch * (now.max_epoch - now.epoch)
    return f"{job.name}: epoch {now.epoch}/{now.max_epoch}, about {clock(left)} of training left"


def clock(seconds: float) -> str:
    """75.2 -> ``1m15s``."""
    whole = int(seconds + 0.5)
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m" if whole >= 3600 else f"{whole // 60}m{whole % 60:02d}s"


def mark(path: Path, text: str = "") -> None:
    """Leave a done-marker."""
    write_atomic(path, text or "done\n")
