"""The benchmarks of a GPU say so where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def test_the_script_ends_at_once():
    done = subprocess.run([ROOT / "benchmarks/gpu.sh"], capture_output=True, text=True, timeout=120, env=environment())
    assert done.returncode == 0 and done.stdout == ""
    assert "no GPU that PyTorch can use" in done.stderr


def test_sparse_tensor_cores_need_a_gpu():
    command = [sys.executable, ROOT / "benchmarks/two_four.py", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment())
    assert done.returncode != 0 and "sparse tensor cores are on a GPU only" in done.stderr


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHON": sys.executable}
