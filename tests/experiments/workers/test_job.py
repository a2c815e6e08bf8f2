"""A job in a child of a run server: its environment, its end, and the reason of a failure."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from espnet_s3router.experiments.workers.job import Outcome, explain
from espnet_s3router.experiments.workers.worker import RunServer, Setting, run_job

LONGEST_S = 20

STARTS_A_CHILD = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), os.getppid(), child.pid, flush=True)
child.wait()
"""

WORKER = """
import sys
from pathlib import Path
from espnet_s3router.experiments.workers.job import Job
from espnet_s3router.experiments.workers.worker import RunServer, Setting, run_job
run_job(Job("a", "tests.experiments.workers.code_job", (sys.argv[1],), Path("run.log"), Path("progress.tsv")), Path.cwd(), 1)
"""


def test_output_is_added_to_the_log_and_the_status_returned(tmp_path, code_job):
    assert run_job(code_job("print('first')"), tmp_path, 1).code == 0
    outcome = run_job(code_job("import sys, time; time.sleep(0.3); sys.exit('second')"), tmp_path, 1)
    assert outcome.code == 1 and 0.3 <= outcome.seconds < LONGEST_S
    assert (tmp_path / "a/run.log").read_text() == "first\nsecond\n"


def test_environment(tmp_path, monkeypatch, code_job):
    """Threads as asked for, and nothing of what Dask sets for its own workers."""
    monkeypatch.setenv("MKL_NUM_THREADS", "1")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_"]
    run_job(code_job(f"import os; print([os.environ.get(name) for name in {names}], os.getcwd())"), tmp_path, 3)
    assert (tmp_path / "a/run.log").read_text().split("] ") == ["['3', '3', '3', None", f"{tmp_path}\n"]


def alive(pid):
    """Whether a process is there and not merely waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("killed", ["worker", "server"])
def test_nothing_outlives_a_worker_or_a_server_that_is_killed(killed, tmp_path, code_job):
    worker = subprocess.Popen([sys.executable, "-c", textwrap.dedent(WORKER), STARTS_A_CHILD], cwd=tmp_path)
    limit = time.monotonic() + LONGEST_S
    log = tmp_path / "run.log"
    while not (log.exists() and log.read_text().endswith("\n")):
        assert worker.poll() is None and time.monotonic() < limit, log.read_text()
        time.sleep(0.02)
    job, server, child = [int(word) for word in log.read_text().split()]
    assert all(map(alive, (job, server, child)))
    os.kill(worker.pid if killed == "worker" else server, signal.SIGKILL)
    worker.wait(timeout=LONGEST_S)
    while any(map(alive, (job, server, child))):
        assert time.monotonic() < limit, "a process outlived the worker"
        time.sleep(0.02)


def test_jobs_of_one_worker_share_the_imports(tmp_path, code_job):
    """Each job is a process of its own, and what one changes the next does not see."""
    say = "import os, sys; print(os.getppid(), os.getpid(), hasattr(sys, 'mark')); sys.mark = 1"
    for name in "ab":
        assert run_job(code_job(say, name, Path(name)), tmp_path, 1).code == 0
    (server, job, mark), (same_server, other_job, other_mark) = (
        (tmp_path / name / "run.log").read_text().split() for name in "ab"
    )
    assert server == same_server and job != other_job and mark == other_mark == "False"


def test_a_server_that_cannot_start_gives_the_reason(tmp_path, code_job):
    from dataclasses import replace

    job = replace(code_job("print(1)"), preload=("no_such_module",))
    outcome = run_job(job, tmp_path, 1)
    assert outcome.code == 1
    assert explain(outcome, tmp_path / "a/run.log").endswith("No module named 'no_such_module'")


def test_a_job_for_a_server_that_has_ended_fails_at_once(tmp_path, code_job):
    server = RunServer(Setting(1, "", ()))
    server._process.kill()
    server._process.wait()
    (tmp_path / "a").mkdir()
    for _ in range(2):  # while its reader notices the end, and after that
        assert server.run(code_job("print(1)"), tmp_path, tmp_path / "a/run.log") == -signal.SIGKILL
        server._reader.join()
    server.close()


def test_threads_work_in_a_forked_child(tmp_path, code_job):
    """OpenMP must not hang after a fork: the server has not used its threads."""
    from dataclasses import replace

    code = "import torch; a = torch.randn(512, 512); print(torch.get_num_threads(), bool((a @ a).abs().sum() > 0))"
    assert run_job(replace(code_job(code), preload=("torch",)), tmp_path, 2).code == 0
    assert (tmp_path / "a/run.log").read_text() == "2 True\n"


@pytest.mark.parametrize(
    ("code", "log", "expected"),
    [
        (-signal.SIGKILL, "epoch 3\n", "killed, probably out of memory"),
        (-signal.SIGSEGV, "epoch 3\n", "ended by SIGSEGV"),
        (1, "warning\nerror: sites are odd\nbye\n\n", "exit code 1: error: sites are odd"),
        (1, "Traceback …\nValueError: odd\n", "exit code 1: ValueError: odd"),
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried …\nbye\n", "out of memory: torch.OutOfMemoryError: CUDA"),
        (1, "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you …\n", "out of memory: Runtime"),
        (2, "", "exit code 2: it printed nothing"),
    ],
)
def test_reasons(tmp_path, code, log, expected):
    (tmp_path / "run.log").write_text(log, encoding="utf-8")
    assert explain(Outcome(code, 0.0), tmp_path / "run.log").startswith(expected)


def test_the_reason_is_that_of_the_last_run(tmp_path, code_job):
    """A log goes on where the run before it ended."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/run.log").write_text("CUDA out of memory: ä\n", encoding="utf-8")
    outcome = run_job(code_job("import sys; sys.exit('error: sites are odd')"), tmp_path, 1)
    assert explain(outcome, tmp_path / "a/run.log") == "exit code 1: error: sites are odd"


def test_reasons_are_short_and_need_no_log(tmp_path):
    assert explain(Outcome(3, 0.0), tmp_path / "none.log") == "exit code 3: it printed nothing"
    (tmp_path / "run.log").write_text("error: " + "x" * 9999, encoding="utf-8")
    assert len(explain(Outcome(1, 0.0), tmp_path / "run.log")) <= 200
