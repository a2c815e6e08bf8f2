"""Shared by the tests of experiments: options of a recipe, and jobs that run a piece of code."""

import os
from pathlib import Path

import pytest

from espnet_s3router.experiments.workers.job import Job

ROOT = Path(__file__).resolve().parents[2]

NEEDED = ("--recipe", "r", "--train_set", "t", "--valid_set", "v", "--test_sets", "v", "--asr_config", "c")
NEEDED += ("--inference_config", "", "--inference_args", "", "--inference_tag", "decode", "--stage", "11")


@pytest.fixture
def options():
    """options(*words) -> the options that a recipe makes of a command line."""
    from espnet_s3router.experiments.options import Options

    return lambda *words: Options.parse([*NEEDED, *words])


@pytest.fixture
def code_job(monkeypatch):
    """code_job(code, name, folder, after) -> a job that runs Python code; its log is ``folder``/run.log."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    def make(code, name="a", folder=Path("a"), after=""):
        return Job(name, "tests.experiments.workers.code_job", (code,), folder / "run.log", folder / "progress.tsv", after)

    return make


@pytest.fixture(autouse=True)
def no_run_server_is_left(monkeypatch):
    """Each test starts run servers of its own and ends them."""
    from espnet_s3router.experiments.workers import worker

    monkeypatch.setattr(worker, "_servers", {})
    yield
    worker.close_servers()
