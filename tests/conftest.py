"""Fixtures of all tests: one thread, no network, no time limits on examples, toy upstreams made once per session."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).parent))  # helpers of the tests, such as toys.py
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Two threads on a small machine cost more than they bring, and counts of seconds become comparable."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def toy_upstreams(tmp_path_factory):
    """Family name -> ``frontend_conf`` of a tiny upstream of that family."""
    from toys import TOYS

    return {name: write(tmp_path_factory.mktemp(name)) for name, write in TOYS.items()}


def pytest_addoption(parser):
    parser.addoption("--fuzz", type=int, default=300, help="number of mutated route files to read")
