"""The wheel: small enough, with the version of the package, and its recipes are those of the checkout.

tests/smoke.sh installs it in an environment without the checkout, and runs a recipe that it lays out there.
"""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import espnet_s3router
from espnet_s3router.cli.setup.recipe_files import describe, entries, lay_out
from espnet_s3router.errors import InputError
from tests.build_wheel import build_wheel

ROOT = Path(__file__).parents[1]
MOST_MB = 15


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """(wheel, folder that it is unpacked to)."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = build_wheel(folder)
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "site")
    return wheel, folder / "site"


def test_size_version_and_weights(installed):
    wheel, site = installed
    assert wheel.stat().st_size <= MOST_MB * 1e6
    assert wheel.name.startswith(f"espnet_s3router-{espnet_s3router.__version__}-")
    assert (site / "espnet_s3router/upstreams/weights/hubert_mini/model.safetensors").is_file()
    assert not re.search(r"version=\"\d", (ROOT / "setup.py").read_text("utf-8"))  # one place knows it


def test_recipes_of_an_installed_package_are_those_of_the_checkout(installed, tmp_path):
    _, site = installed
    code = "from espnet_s3router.cli.main import main; raise SystemExit(main())"
    command = [sys.executable, "-P", "-c", code, "recipe", "init", str(tmp_path / "mine")]
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "asterisk/asr1" in done.stdout
    made, here = (list(entries(folder)) for folder in (tmp_path / "mine", ROOT))
    assert made == here and describe(tmp_path / "mine") == describe(ROOT)
    files = [path for path in here if not (ROOT / path).is_symlink()]
    assert all((tmp_path / "mine" / path).read_bytes() == (ROOT / path).read_bytes() for path in files)


def test_a_recipe_runs_where_it_was_laid_out(tmp_path):
    lay_out(tmp_path / "mine")
    binaries = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    run = tmp_path / "mine/egs2/s3router/asterisk/asr1/run.sh"
    done = subprocess.run([run, "--help"], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Ten minutes of recorded English prompts" in done.stdout and "--pack_kind" in done.stdout


def test_a_folder_that_is_not_empty(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(InputError, match="exists already and is not empty"):
        lay_out(tmp_path)
