"""docs/architecture.md names every folder of the package and of the top level, and no other."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([^`]+)/` \|", re.MULTILINE)
"""First cell of a line in the tables of rooms: a folder from the top of the repository."""


def named_folders() -> list[str]:
    """Folders in the tables of the page, in its order."""
    return ROW.findall((ROOT / "docs/architecture.md").read_text("utf-8"))


def test_names_every_folder_of_the_package():
    package = {str(file.parent.relative_to(ROOT)) for file in ROOT.glob("espnet_s3router/**/*.py")}
    assert {name for name in named_folders() if name.startswith("espnet_s3router/")} | {"espnet_s3router"} == package


def test_names_every_folder_of_the_top_level():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("the top level is read from git, and this is no git checkout")
    top = {name.split("/")[0] for name in listed.stdout.splitlines() if "/" in name and not name.startswith(".")}
    assert {name for name in named_folders() if not name.startswith("espnet_s3router/")} == top


def test_names_each_folder_once():
    assert len(named_folders()) == len(set(named_folders()))
