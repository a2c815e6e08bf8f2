"""One point as a child process: how it runs, how it ends with whoever runs it, and why it failed."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from espnet_s3router.errors import InputError

THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
GPUS = "CUDA_VISIBLE_DEVICES"
TRIMMING = "MALLOC_TRIM_THRESHOLD_"  # Dask sets it for its workers; it would make every allocation of a training slower
OUT_OF_MEMORY = ("out of memory", "MemoryError", "can't allocate memory", "Cannot allocate memory")
SHOWN = 200  # characters of a reason
RUNNING: dict[Path, subprocess.Popen[bytes]] = {}  # in this process: log -> child


@dataclass(frozen=True)
class Job:
    """One command; its output goes to ``log``."""

    name: str
    command: tuple[str, ...]
    log: Path
    progress: Path
    """The run's ``progress.tsv``."""
    after: str = ""
    """Name of the job whose result this one starts from."""
    leads: bool = False
    """Whether all others of its grid come after it, finished ones too: nothing can run beside it."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    code: int
    """Exit status; negative: the signal that ended it."""
    seconds: float
    at: int = 0
    """Where its output begins in a log that it has gone on with, in bytes."""


def run_job(job: Job, folder: Path, threads: int, gpus: str = "") -> Outcome:
    """Run a job in ``folder`` to its end, with so many threads; it sees these GPUs (``0,1``; empty: whatever its worker
    sees). Called in a worker, which survives whatever the job does.

    The child leads a session of its own and holds a pipe from this process: see ``end_with_parent``.
    """
    log = folder / job.log
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | dict.fromkeys(THREAD_LIMITS, str(threads)) | {"PYTHONUNBUFFERED": "1"}
    environment.pop(TRIMMING, None)
    if gpus:
        environment[GPUS] = gpus
    began = time.monotonic()
    with log.open("ab") as file:
        at = file.tell()
        child = subprocess.Popen(
            job.command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        RUNNING[log] = child
        code = child.wait()  # before the pipe is closed
        del RUNNING[log]
        assert child.stdin is not None
        child.stdin.close()
    return Outcome(code, time.monotonic() - began, at)


def end_jobs(logs: Collection[Path]) -> None:
    """End the jobs with these logs, as far as this process runs them: as if it had ended."""
    for log in logs:
        if (child := RUNNING.get(log)) and child.stdin:
            child.stdin.close()


def end_with_parent() -> None:
    """End this process and its children as soon as standard input ends: a worker that is killed, or a stage that is
    interrupted, leaves nobody behind who writes into the folder of a point that is started again."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    if os.getpgrp() != os.getpid():
        raise InputError("--end_with_parent ends a whole process group: only what leads one may be given it")
    threading.Thread(target=watch, daemon=True).start()


def explain(outcome: Outcome, log: Path) -> str:
    """Why a job failed, in one line: its last message, or what its exit status means."""
    code, lines = outcome.code, tail(log, 40, outcome.at)
    if code == -signal.SIGKILL:
        return "killed, probably out of memory"
    if memory := [line for line in lines if any(words in line for words in OUT_OF_MEMORY)]:
        return f"out of memory: {memory[-1]}"[:SHOWN]
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    said = [line for line in lines if line.lower().startswith("error:")] or lines or ["it said nothing"]
    return f"exit code {code}: {said[-1]}"[:SHOWN]


def tail(log: Path, count: int, at: int = 0) -> list[str]:
    """The last lines of a log that are not blank, from byte ``at`` on."""
    text = log.read_bytes()[at:].decode("utf-8", errors="replace") if log.exists() else ""
    return [line.strip() for line in text.splitlines() if line.strip()][-count:]
