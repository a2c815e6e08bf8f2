"""Where runs are executed: contradictions, SLURM's job script, and clusters that do not answer, reported in bounded time."""

import os
import socket
import stat
import time

import pytest
import yaml

from espnet_s3router import devices
from espnet_s3router.errors import InputError
from espnet_s3router.experiments.workers import cluster

LONGEST_S = 20


@pytest.fixture
def slurm_file(tmp_path):
    """slurm_file(**changes) -> a configuration of SLURM; None leaves a key out."""

    def write(**changes):
        conf = {
            "cores": 4,
            "memory": "8GB",
            "queue": "speech",
            "walltime": "04:00:00",
            "log_directory": str(tmp_path),
        } | changes
        path = tmp_path / "slurm.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in conf.items() if value is not None}), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """commands(name, script) puts a command first on PATH."""
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def write(name, script):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return write


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--parallel", "0"], "--parallel is 0"),
        (["--threads", "-1"], "--threads is -1"),
        (["--cluster", "pbs"], "--cluster is 'pbs', expected local, slurm or an address"),
        (["--cluster", "slurm"], "expected a YAML file with slurm"),
        (["--cluster_config", "conf/slurm.yaml"], "none otherwise"),
        (["--cluster", "slurm", "--cluster_config", "absent.yaml"], "absent.yaml: cannot be read"),
    ],
)
def test_contradictions(options, words, expected):
    with pytest.raises(InputError, match=expected):
        (given := options(*words)).check()
        cluster.check_options(given)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"cores": None}, "lacks 'cores', the cores of one run, for example"),
        ({"memory": None}, "lacks 'memory'"),
        ({"memory": "much"}, "slurm.yaml: .*much.*expected the options of dask_jobqueue.SLURMCluster"),
        ({"partition": "speech"}, "slurm.yaml: .*'partition'"),
    ],
)
def test_a_wrong_configuration_of_slurm(options, slurm_file, changes, expected):
    with pytest.raises(InputError, match=expected):
        cluster.check_options(options("--cluster", "slurm", "--cluster_config", slurm_file(**changes)))


def test_the_job_script(slurm_file):
    """A worker runs one job at a time, whatever its number of cores."""
    found = cluster.slurm_options(
        slurm_file(worker_extra_args=["--interface", "eth0"], job_script_prologue=["module load x"])
    )
    script = cluster.job_script(found).splitlines()
    for line in (
        "#SBATCH -p speech",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --mem=8G",
        "#SBATCH -t 04:00:00",
        "module load x",
    ):
        assert line in script
    (command,) = (line for line in script if "dask_worker" in line)
    assert command.endswith("--interface eth0 --nthreads 1") and "--nworkers" not in command


@pytest.fixture
def failing(options):
    """failing(words, expected): connecting is refused with that message before long."""

    def refused(words, expected, jobs=1):
        began = time.monotonic()
        with pytest.raises(InputError, match=expected), cluster.connect(options(*words), jobs):
            pytest.fail("there is nobody to connect to")
        assert time.monotonic() - began < LONGEST_S

    return refused


def test_gpus_are_counted_before_anything_runs(options, slurm_file, monkeypatch):
    """Where runs train here; SLURM knows the GPUs of its nodes, and data preparation needs none."""
    monkeypatch.setattr(devices, "OTHER_DRIVERS", ())
    monkeypatch.setattr(devices, "gpus", lambda: [])
    with pytest.raises(InputError, match="ngpu is 1, but this machine has 0 NVIDIA GPUs"):
        cluster.check_options(options("--ngpu", "1"))
    cluster.check_options(options("--ngpu", "1", "--stage", "10", "--stop_stage", "10"))
    cluster.check_options(options("--ngpu", "1", "--cluster", "slurm", "--cluster_config", slurm_file()))


def test_no_slurm_here(failing, slurm_file, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    failing(["--cluster", "slurm", "--cluster_config", slurm_file()], "no sbatch here")


@pytest.mark.parametrize(
    ("sbatch", "expected"),
    [
        ("echo 'Unable to contact slurm controller' >&2; exit 1", "refuses .*: Unable to contact slurm controller"),
        ("grep -q dask_worker || exit 0; echo invalid partition >&2; exit 1", "refuses .*: invalid partition"),
        ("exit 1", "it does not say why"),
        ("exec sleep 60", "refuses .*: .*timed out"),
    ],
)
def test_slurm_refuses(failing, slurm_file, commands, monkeypatch, sbatch, expected):
    monkeypatch.setattr(cluster, "CONTACT_S", 1)
    commands("sbatch", sbatch)
    failing(["--cluster", "slurm", "--cluster_config", slurm_file()], expected)


def test_jobs_that_never_start(failing, slurm_file, commands):
    commands("sbatch", "echo Submitted batch job 7")
    commands("scancel", "exit 0")
    words = ["--cluster", "slurm", "--cluster_config", slurm_file(), "--cluster_timeout", "2"]
    failing(words, "no worker started within 2 s.*squeue", jobs=2)


def test_no_scheduler_at_the_address(failing, monkeypatch):
    monkeypatch.setattr(cluster, "CONTACT_S", 1)
    with socket.socket() as unused:  # bound and not listening: nobody else gets the port meanwhile
        unused.bind(("127.0.0.1", 0))
        failing(["--cluster", f"tcp://127.0.0.1:{unused.getsockname()[1]}"], "no Dask scheduler answers there")
    failing(["--cluster", "carrier://pigeon"], "no Dask scheduler answers there")


def test_a_scheduler_that_somebody_started(options):
    from distributed import LocalCluster

    silent = {"dashboard_address": "127.0.0.1:0", "memory_limit": None, "processes": False}
    with LocalCluster(n_workers=1, threads_per_worker=1, **silent) as there:
        words = ["--cluster", there.scheduler_address, "--threads", "3"]
        with cluster.connect(options(*words), 5) as workers:
            assert (workers.count, workers.threads) == (2, 3)
            assert workers.client.submit(sum, [1, 2]).result(timeout=LONGEST_S) == 3


def test_two_recipes_at_a_time(options):
    """Neither takes a port that the other needs, nor says anything (a warning is an error here)."""
    with cluster.connect(options(), 1), cluster.connect(options(), 1) as workers:
        assert workers.client.submit(sum, [1, 2]).result(timeout=LONGEST_S) == 3
