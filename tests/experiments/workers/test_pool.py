"""Points side by side on Dask's workers: order, failures, and how long it will take."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from distributed.client import FutureCancelledError

from espnet_s3router import devices
from espnet_s3router.errors import InputError
from espnet_s3router.experiments.grid import leads
from espnet_s3router.experiments.workers import pool
from espnet_s3router.experiments.workers.cluster import Workers, connect, share_gpus
from espnet_s3router.experiments.workers.pool import Grid, run_jobs, summary, time_left

LONGEST_S = 30


@pytest.fixture
def make(tmp_path, monkeypatch, code_job):
    """make(name, code) -> a job that runs Python code, with a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda name, code, after="": code_job(code, name, tmp_path / name, after)


def test_failures_stop_only_what_comes_after_them(make, options, tmp_path, capsys):
    wait = "import time; time.sleep(0.5); print(1)"
    jobs = [
        make("early", "assert open('dense/run.log').read() == '1\\n'", after="dense"),
        make("dense", wait),
        make("odd", "import sys; sys.exit('error: sites are odd')"),
        make("later", "print(1)", after="odd"),
        make("killed", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
        make("resumed", "print(1)", after="finished long ago"),
    ]
    with connect(options("--parallel", "2"), len(jobs)) as workers:
        assert workers.count == 2
        broken = run_jobs(jobs, workers, every=0.3)
        nannies = workers.client.scheduler_info(n_workers=-1)["workers"]
        assert len(nannies) == 2  # no job took its worker with it
    assert broken == {
        "odd": "exit code 1: error: sites are odd",
        "later": "not started, because odd failed",
        "killed": "killed, probably out of memory",
    }
    assert not (tmp_path / "later").exists()
    told = capsys.readouterr()
    assert "odd: FAILED, exit code 1: error: sites are odd; the end of" in told.err
    assert "early: done in 0m" in told.out and "dense: starting" in told.out
    assert told.out.index("dense: done") < told.out.index("early: started")


SAY_THREADS = "import os; print(os.environ['OMP_NUM_THREADS'])"


@pytest.mark.parametrize(
    ("words", "of", "expected"),
    [
        (["--parallel", "1"], 0, 4),
        (["--parallel", "1", "--threads", "7"], 0, 7),
        (["--parallel", "2"], 0, 4),
        (["--parallel", "2"], 5, 2),  # the last of a grid that was interrupted has no more than in one that was not
    ],
)
def test_threads_are_shared_out(words, of, expected, make, options, tmp_path, monkeypatch):
    monkeypatch.setattr("dask.system.CPU_COUNT", 4)
    with connect(options(*words), 1, of) as workers:
        assert run_jobs([make("last", SAY_THREADS)], workers) == {}
    assert (tmp_path / "last/run.log").read_text() == f"{expected}\n"


@pytest.mark.parametrize("finished", [0, 1])
def test_the_run_that_all_others_come_after_has_all_threads(finished, make, options, tmp_path):
    """Also where an interruption left fewer runs than there are workers."""
    grid = [make("dense", SAY_THREADS), *(make(name, SAY_THREADS, after="dense") for name in "ab")]
    grid = [replace(job, leads=leads(job, grid)) for job in grid]
    left = grid[: 3 - finished]
    with connect(options("--parallel", "3", "--threads", "3"), len(left), 3) as workers:
        assert run_jobs(left, workers) == {}
    assert [(tmp_path / job.name / "run.log").read_text() for job in left] == ["9\n", "3\n", "3\n"][: len(left)]


def test_no_dense_model_leads_where_there_are_others(make):
    """Whichever of them an interruption has left."""
    jobs = [make("dense0", ""), make("dense1", ""), make("a", "", after="dense0"), make("b", "", after="dense1")]
    assert not any(leads(job, jobs) for job in jobs)


class WithoutScheduler:
    """A client whose scheduler has died, and the future that it gives then."""

    def submit(self, *args, **kwargs):
        return self

    def done(self):
        return True

    def result(self):
        raise FutureCancelledError("run_job-1", "scheduler-connection-lost")


def test_a_scheduler_that_dies(make, capsys):
    """All that ran or waited is named, and the caller goes on to its report."""
    broken = run_jobs([make(name, "print(1)") for name in "abc"], Workers(WithoutScheduler(), 2, 1))
    lost = "the connection to Dask's scheduler was lost"
    assert broken == {"a": lost, "b": lost, "c": "not started, because a failed"}
    assert "a: FAILED, the connection to Dask's scheduler was lost" in capsys.readouterr().err


WAITS = """
import os, time
print(os.getpid(), flush=True)
time.sleep(600)
"""


def test_nothing_goes_on_at_workers_that_outlive_an_interrupted_grid(make, options, tmp_path, monkeypatch):
    """The same command could not resume the run while a process works on it."""
    from distributed import LocalCluster

    log, sleep = tmp_path / "waits/run.log", pool.time.sleep
    limit = time.monotonic() + LONGEST_S

    def interrupt(seconds):
        sleep(seconds)
        assert time.monotonic() < limit
        if log.exists() and log.read_text().endswith("\n"):
            raise KeyboardInterrupt

    monkeypatch.setattr(pool.time, "sleep", interrupt)
    silent = {"dashboard_address": "127.0.0.1:0", "memory_limit": None, "processes": True}
    with LocalCluster(n_workers=1, threads_per_worker=1, **silent) as there:
        with pytest.raises(KeyboardInterrupt):  # noqa: SIM117 - the workers are still there when it has ended
            with connect(options("--cluster", there.scheduler_address), 1) as workers:
                run_jobs([make("waits", WAITS)], workers)
        pid = Path("/proc", log.read_text().strip())
        while pid.exists():
            assert time.monotonic() < limit, "the job outlived its grid"
            sleep(0.05)


def test_gpus_are_shared_out(make, options, tmp_path, monkeypatch):
    """Each running job has its own; jobs of SLURM have theirs."""
    say = "import os, time; time.sleep(0.5); print(os.environ['CUDA_VISIBLE_DEVICES'])"
    monkeypatch.setattr(devices, "OTHER_DRIVERS", ())
    monkeypatch.setattr(devices, "gpus", lambda: [f"GPU {number}" for number in range(8)])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    with connect(options("--parallel", "2", "--ngpu", "2"), 5) as workers:
        assert run_jobs([make(name, say) for name in "abc"], workers) == {}
    seen = [(tmp_path / name / "run.log").read_text() for name in "abc"]
    assert seen[:2] == ["4,5\n", "6,7\n"] and seen[2] in seen[:2]
    assert share_gpus(3, 1) == ("4", "5", "6") and share_gpus(2, 3) == ("4,5,6", "7,4,5") and share_gpus(2, 0) == ()
    with pytest.raises(InputError, match="ngpu is 5, but CUDA_VISIBLE_DEVICES is '4,5,6,7', which leaves 4 of the 8 GPUs"):
        share_gpus(1, 5)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7,8,9")
    assert share_gpus(2, 1) == ("6", "7")  # there are no others


@pytest.mark.parametrize(
    ("seconds", "elapsed", "waiting", "workers", "expected"),
    [
        ([100], [], 4, 2, 200),
        ([90, 100, 500], [40, 60], 2, 2, 150),  # the median, what runs counted in part
        ([100], [30], 0, 4, 70),  # one that runs is not split among workers
        ([100], [400], 1, 2, 100),  # one that takes longer than usual counts as about to end
        ([100], [], 0, 2, 0),
    ],
)
def test_time_left(seconds, elapsed, waiting, workers, expected):
    assert time_left(seconds, elapsed, waiting, workers) == pytest.approx(expected)


def test_summary(make):
    grid = Grid([make("a", ""), make("b", "")])
    assert summary(grid, 2) == "0 of 2 runs ended, 0 run, 2 wait"
    grid.seconds += [60.0, 130.0, 3600.0]
    grid.failures["x"] = "odd"
    expected = "4 of 6 runs ended, 0 run, 2 wait; median 2m10s a run on 2 workers: about 2m10s left"
    assert summary(grid, 2) == expected
