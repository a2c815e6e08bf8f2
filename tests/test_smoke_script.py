"""tests/smoke.sh counts disk space as install.sh does."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def smoke(tmp_path):
    """smoke(free) runs the script of a clone whose Python is 3.11, beside a fake 3.12 and a disk with ``free`` kilobytes."""
    clone, tools = tmp_path / "clone", tmp_path / "tools"
    shutil.copytree(ROOT / "constraints", clone / "constraints")
    for name in ("install.sh", "setup.py", "tests/smoke.sh"):
        (clone / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    script(tools / "python", "echo 3.11")
    script(clone / ".venv/bin/python", "echo 3.11")
    script(clone / ".venv-3.12/bin/python", '[ "$1" = -c ] && { echo 3.12; exit; }; echo no pip; exit 1')
    script(tools / "du", "printf '7000000\\t.\\n'")

    def run(free):
        script(tools / "df", f"echo header\necho 'disk 200000000 1 {free} 1% /'")
        environment = os.environ | {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "OTHER_PYTHON": str(clone / ".venv-3.12/bin/python"),
        }
        return subprocess.run([clone / "tests/smoke.sh"], env=environment, capture_output=True, text=True)

    return run


def test_without_space_for_another_environment_the_smoke_test_is_left_out(smoke):
    done = smoke(3_900_000)
    assert done.returncode == 0
    assert "smoke: left out" in done.stdout and "has 3 GB free, expected 10 GB" in done.stdout


def test_the_files_of_an_interrupted_installation_count_as_free_space(smoke):
    done = smoke(4_500_000)
    assert done.returncode == 1
    assert "no pip" in done.stderr and "install: pip failed" in done.stderr
