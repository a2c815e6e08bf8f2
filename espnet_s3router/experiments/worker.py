"""What a Dask worker does with a job: it hands the job to its run server, which has the heavy modules imported."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from espnet_s3router.experiments.job import Job, Outcome

THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
GPUS = "CUDA_VISIBLE_DEVICES"
TRIMMING = "MALLOC_TRIM_THRESHOLD_"
"""Dask sets this variable for its workers. It would make every allocation of a training slower."""
RUNNING: dict[Path, "RunServer"] = {}
"""Log of each running job of this process -> its server."""


class Setting(NamedTuple):
    """What the environment of a run server depends on; jobs of one setting share a server."""

    threads: int
    gpus: str
    """Such as ``0,1``; empty: the GPUs that the worker sees."""
    preload: tuple[str, ...]


class RunServer:
    """A run server as a child process of this worker."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        environment = os.environ | dict.fromkeys(THREAD_LIMITS, str(setting.threads)) | {"PYTHONUNBUFFERED": "1"}
        environment.pop(TRIMMING, None)
        if setting.gpus:
            environment[GPUS] = setting.gpus
        self.messages = tempfile.TemporaryFile()  # noqa: SIM115  holds what imports print as long as the server lives
        self.process = subprocess.Popen(
            [sys.executable, "-m", "espnet_s3router.experiments.run_server", *setting.preload],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.messages,
            start_new_session=True,  # Ctrl-C goes to the grid, which closes its workers in order
        )

    def run(self, job: Job, folder: Path, log: Path) -> int:
        """Run a job in ``folder`` to its end. Returns its exit status, or that of the server if the server ended first."""
        assert self.process.stdin is not None and self.process.stdout is not None
        request = {"module": job.module, "arguments": job.arguments, "folder": str(folder), "log": str(log)}
        with suppress(OSError):  # of a server that has ended: reading shows it too
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        if reply := self.process.stdout.readline():
            return int(reply)
        self.messages.seek(0)
        with log.open("ab") as file:
            file.write(self.messages.read())
        return self.process.wait() or 1

    def end(self) -> None:
        """End the server and the job that it runs; ``run`` returns then."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # of a request that a dead server did not read
            self.process.stdin.close()

    def close(self) -> None:
        """End the server and release its files."""
        self.end()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.messages.close()


_server: RunServer | None = None


def server_of(setting: Setting) -> RunServer:
    """The server of this worker for a setting. Another one is closed: a worker runs one job at a time."""
    global _server
    if _server is None or _server.setting != setting or _server.process.poll() is not None:
        if _server is not None:
            _server.close()
        _server = RunServer(setting)
    return _server


def preload(setting: Setting) -> None:
    """Start importing, before the first job is there."""
    server_of(setting)


def run_job(job: Job, folder: Path, threads: int, gpus: str = "") -> Outcome:
    """Run a job in ``folder`` to its end, with ``threads`` threads. The worker survives whatever the job does."""
    log = folder / job.log
    log.parent.mkdir(parents=True, exist_ok=True)
    log_start = log.stat().st_size if log.exists() else 0
    start = time.monotonic()
    server = RUNNING[log] = server_of(Setting(threads, gpus, job.preload))
    try:
        code = server.run(job, folder, log)
    finally:
        del RUNNING[log]
    return Outcome(code, time.monotonic() - start, log_start)


def end_jobs(logs: Collection[Path]) -> None:
    """End the jobs with these logs that this process runs."""
    for log in logs:
        if server := RUNNING.get(log):
            server.end()
