"""Runs as jobs of a real SLURM of one node, on this machine. tests/experiments/test_cluster.py tests the job script
everywhere."""

import os
import sys
import threading
import time

import pytest
import yaml

from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.workers.cluster import connect
from espnet_s3router.experiments.workers.job import Job
from espnet_s3router.experiments.workers.pool import run_jobs
from tests.recipes.conftest import ROOT

LONGEST_S = 120
RUNS = ("asr_head_only_seed0", "asr_routing_s0.1_seed0")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The folder of SLURM's commands."""
    from slurm_node import Unavailable, running

    folder = tmp_path_factory.mktemp("slurm")
    try:
        with running(folder) as commands:
            yield commands
    except Unavailable as error:
        pytest.skip(f"no SLURM can be run here: {error}")


@pytest.fixture
def config(tmp_path):
    """Options of a worker's job: loopback, one core."""
    path = tmp_path / "slurm.yaml"
    conf = {"cores": 1, "memory": "2GB", "job_directives_skip": ["--mem"], "interface": "lo"}
    conf |= {"log_directory": str(tmp_path / "logs"), "queue": "speech"}
    path.write_text(yaml.safe_dump(conf), encoding="utf-8")
    return path


def test_a_grid_of_two_runs(prepared, slurm, config, tmp_path):
    few = "max_epoch=1 num_iters_per_epoch=1"
    slurm_options = {"cluster": "slurm", "cluster_config": config, "cluster_timeout": LONGEST_S}
    words = prepared.words(tmp_path / "exp", methods="head_only routing", asr_args=few, **slurm_options)
    command = (sys.executable, "-m", "espnet_s3router.experiments.grid", *words)
    done = prepared.recipes.run(*command, PATH=f"{slurm}{os.pathsep}{prepared.recipes.environment()['PATH']}")
    assert "waiting for the first worker of slurm" in done.stdout
    for name in RUNS:
        assert f"{name}: done" in done.stdout
        assert (tmp_path / "exp" / name / "decode/test/counts.json").exists()
    assert len(list((tmp_path / "logs").glob("*.out"))) >= 2  # one job of SLURM per run


def test_a_job_that_is_cancelled_is_replaced_and_its_run_resumes(slurm, config, tmp_path, monkeypatch):
    """As at the time limit of a job: the work until then is there."""
    from slurm_node import told

    monkeypatch.setenv("PATH", f"{slurm}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    code = "import os, time; begun = os.path.exists('begun'); open('begun', 'w').close(); begun or time.sleep(600)"
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    job = Job("cut", "tests.experiments.workers.code_job", (code,), tmp_path / "run.log", tmp_path / "progress.tsv")

    def cancel():
        limit = time.monotonic() + LONGEST_S
        while not (tmp_path / "begun").exists() and time.monotonic() < limit:
            time.sleep(0.2)
        told(slurm / "scancel", "--user", "root")

    options = Options(cluster="slurm", cluster_config=str(config), cluster_timeout=LONGEST_S)
    thread = threading.Thread(target=cancel)
    with connect(options, 1) as workers:
        thread.start()
        began = time.monotonic()
        assert run_jobs([job], workers) == {}
        assert time.monotonic() - began < LONGEST_S
    thread.join()
