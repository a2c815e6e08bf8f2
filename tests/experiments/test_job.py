"""A point as a child process: its environment, its end with whoever started it, and the reason of a failure."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from espnet_s3router.errors import InputError
from espnet_s3router.experiments.job import Job, Outcome, end_with_parent, explain, run_job

LONGEST_S = 20

# Leads a group with a child of its own, says who both are, and waits.
GUARDED = """
import subprocess, sys
from espnet_s3router.experiments.job import end_with_parent
end_with_parent()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
import os
print(os.getpid(), child.pid, flush=True)
child.wait()
"""

PARENT = """
import sys
from pathlib import Path
from espnet_s3router.experiments.job import Job, run_job
run_job(Job("guarded", (sys.executable, "-c", sys.argv[1]), Path("run.log"), Path("progress.tsv")), Path.cwd(), 1)
"""


def job(code, **changes):
    values = {"name": "a", "command": (sys.executable, "-c", code), "log": Path("a/run.log"), "progress": Path("a/p.tsv")}
    return Job(**{**values, **changes})


def test_output_is_added_to_the_log_and_the_status_returned(tmp_path):
    assert run_job(job("print('first')"), tmp_path, 1).code == 0
    outcome = run_job(job("import sys, time; time.sleep(0.3); sys.exit('second')"), tmp_path, 1)
    assert outcome.code == 1 and 0.3 <= outcome.seconds < LONGEST_S
    assert (tmp_path / "a/run.log").read_text() == "first\nsecond\n"


def test_environment(tmp_path, monkeypatch):
    """Threads as asked for, and nothing of what Dask sets for its own workers."""
    monkeypatch.setenv("MKL_NUM_THREADS", "1")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_"]
    run_job(job(f"import os; print([os.environ.get(name) for name in {names}], os.getcwd())"), tmp_path, 3)
    assert (tmp_path / "a/run.log").read_text().split("] ") == ["['3', '3', '3', None", f"{tmp_path}\n"]


def alive(pid):
    """Whether a process is there and not merely waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_nobody_is_left_behind_by_a_worker_that_is_killed(tmp_path):
    worker = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PARENT), GUARDED], cwd=tmp_path)
    limit = time.monotonic() + LONGEST_S
    log = tmp_path / "run.log"
    while not (log.exists() and log.read_text().endswith("\n")):
        assert worker.poll() is None and time.monotonic() < limit, log.read_text()
        time.sleep(0.02)
    pids = [int(word) for word in log.read_text().split()]
    assert all(map(alive, pids)) and len(pids) == 2
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    while any(map(alive, pids)):
        assert time.monotonic() < limit, "a process outlived the worker"
        time.sleep(0.02)


def test_only_the_leader_of_a_group_may_end_it(monkeypatch):
    monkeypatch.setattr(os, "getpgrp", lambda: -1)
    with pytest.raises(InputError, match="leads one"):
        end_with_parent()


@pytest.mark.parametrize(
    ("code", "log", "expected"),
    [
        (-signal.SIGKILL, "epoch 3\n", "killed, probably out of memory"),
        (-signal.SIGSEGV, "epoch 3\n", "ended by SIGSEGV"),
        (1, "warning\nerror: sites are odd\nbye\n\n", "exit code 1: error: sites are odd"),
        (1, "Traceback …\nValueError: odd\n", "exit code 1: ValueError: odd"),
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried …\nbye\n", "out of memory: torch.OutOfMemoryError: CUDA"),
        (1, "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you …\n", "out of memory: Runtime"),
        (2, "", "exit code 2: it said nothing"),
    ],
)
def test_reasons(tmp_path, code, log, expected):
    (tmp_path / "run.log").write_text(log, encoding="utf-8")
    assert explain(Outcome(code, 0.0), tmp_path / "run.log").startswith(expected)


def test_the_reason_is_that_of_the_last_run(tmp_path):
    """A log goes on where the run before it ended."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/run.log").write_text("CUDA out of memory: ä\n", encoding="utf-8")
    outcome = run_job(job("import sys; sys.exit('error: sites are odd')"), tmp_path, 1)
    assert explain(outcome, tmp_path / "a/run.log") == "exit code 1: error: sites are odd"


def test_reasons_are_short_and_need_no_log(tmp_path):
    assert explain(Outcome(3, 0.0), tmp_path / "none.log") == "exit code 3: it said nothing"
    (tmp_path / "run.log").write_text("error: " + "x" * 9999, encoding="utf-8")
    assert len(explain(Outcome(1, 0.0), tmp_path / "run.log")) <= 200
