"""What a Dask worker does with a job: it gives the job to a run server, which has imported the heavy modules."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from espnet_s3router.devices import VISIBLE
from espnet_s3router.errors import InputError
from espnet_s3router.experiments.workers.job import Job, Outcome, explain, tail

THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
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
    """A run server as a child of this process. Several threads may run jobs in it at a time."""

    def __init__(self, setting: Setting) -> None:
        environment = os.environ | dict.fromkeys(THREAD_LIMITS, str(setting.threads)) | {"PYTHONUNBUFFERED": "1"}
        environment.pop(TRIMMING, None)
        if setting.gpus:
            environment[VISIBLE] = setting.gpus
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115  holds what imports print as long as the server lives
        self._process = subprocess.Popen(
            [sys.executable, "-m", "espnet_s3router.experiments.workers.run_server", *setting.preload],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            start_new_session=True,  # Ctrl-C goes to the grid, which closes its workers in order
        )
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._codes: dict[int, Future[int]] = {}
        self._status: int | None = None  # of the server, once no more replies come
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def ended(self) -> bool:
        """True once the server has stopped."""
        return self._process.poll() is not None

    def run(self, job: Job, folder: Path, log: Path) -> int:
        """Run a job in ``folder`` to its end. Returns its exit status, or that of the server if the server ended first."""
        assert self._process.stdin is not None
        with self._lock:
            number = next(self._numbers)
            code: Future[int] = Future()
            if self._status is None:
                self._codes[number] = code
            else:
                code.set_result(self._status)
            request = {"number": number, "module": job.module, "arguments": job.arguments}
            request |= {"folder": str(folder), "log": str(log)}
            with suppress(OSError, ValueError):  # of a server that has ended, which the reader notices
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()
        if (status := code.result()) and self.ended:
            with suppress(ValueError), log.open("ab") as file:  # of a server that was closed on purpose
                self._messages.seek(0)
                file.write(self._messages.read())
        return status

    def _read(self) -> None:
        """Hand out exit statuses until the server ends; then every job that still runs has the server's."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            reply = json.loads(line)
            self._codes.pop(reply["number"]).set_result(reply["code"])
        status = self._process.wait() or 1
        with self._lock:
            self._status = status
            for code in self._codes.values():
                code.set_result(status)
            self._codes.clear()

    def close(self) -> None:
        """End the server and the jobs that it runs."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # of a request that a dead server did not read
            self._process.stdin.close()
        self._reader.join()
        self._process.stdout.close()
        self._messages.close()


_servers: dict[Setting, RunServer] = {}
_starting = threading.Lock()


def server_of(setting: Setting) -> RunServer:
    """The server of this process for a setting, started if there is none."""
    with _starting:
        if setting not in _servers or _servers[setting].ended:
            _servers[setting] = RunServer(setting)
        return _servers[setting]


def close_servers() -> None:
    """End all run servers of this process, and the jobs that they run."""
    with _starting:
        for server in _servers.values():
            server.close()
        _servers.clear()


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


def run_here(job: Job, threads: int) -> None:
    """Run a job in a run server of this process. Later jobs of the same setting share it. Raises InputError if it fails."""
    outcome = run_job(job, Path.cwd(), threads)
    if outcome.code:
        lines = "\n".join(tail(job.log, 8, outcome.log_start))
        raise InputError(f"{job.name} failed: {explain(outcome, job.log)}; the end of {job.log}:\n{lines}")


def end_jobs(logs: Collection[Path]) -> None:
    """End the jobs with these logs that this process runs."""
    for server in {RUNNING[log] for log in logs if log in RUNNING}:
        server.close()
