"""The recipes and their data preparation, as a folder to work in: from a source checkout, or from an installed package.

A wheel holds neither links nor modes of files, so it lists both in ``MODES``, which ``setup.py`` writes.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from espnet_s3router.errors import InputError

PACKAGE = Path(__file__).resolve().parents[2]
PARTS = ("egs2/s3router", "egs3/s3router", "local")
NOTEBOOK = "docs/quickstart.ipynb"
LEFT_OUT = ("data", "dump", "exp", "downloads", "results", "__pycache__")
"""Folders that recipes make, and committed results."""
MODES = "links_and_modes.json"


def source() -> Path:
    """The folder that holds ``PARTS``: in an installed package, or the checkout around it. Raises InputError without one."""
    for folder in (PACKAGE / "recipes", PACKAGE.parent):
        if all((folder / part).is_dir() for part in PARTS):
            return folder
    raise InputError(f"{PACKAGE}: holds no recipes; install espnet-s3router again from a wheel or a checkout")


def entries(folder: Path) -> Iterator[Path]:
    """Files and links below ``PARTS``, relative to ``folder``, in order, then ``NOTEBOOK``. Links are not followed."""
    for part in PARTS:
        for place, below, files in os.walk(folder / part):
            links = [name for name in below if Path(place, name).is_symlink()]
            below[:] = sorted(name for name in below if name not in (*LEFT_OUT, *links))
            for name in sorted([*files, *links]):
                if not name.endswith(".pyc"):
                    yield Path(place, name).relative_to(folder)
    yield Path(NOTEBOOK)


def describe(folder: Path) -> dict[str, dict[str, str]]:
    """``links``: path to target, ``modes``: path to ``x`` for a file that can be run."""
    paths = list(entries(folder))
    links = {path.as_posix(): os.readlink(folder / path) for path in paths if (folder / path).is_symlink()}
    modes = {p.as_posix(): "x" for p in paths if p.as_posix() not in links and os.access(folder / p, os.X_OK)}
    return {"links": links, "modes": modes}


def copy_files(folder: Path, target: Path) -> None:
    """Copy the files of ``entries`` without links to ``target``, and write ``MODES`` there. For ``setup.py``."""
    for path in entries(folder):
        if not (folder / path).is_symlink():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / path, target / path)
    (target / MODES).write_text(json.dumps(describe(folder), indent=1) + "\n", encoding="utf-8")


def lay_out(target: str | Path) -> list[str]:
    """Write recipes to ``target``, and return their names, such as ``asterisk/asr1``.

    Raises InputError if ``target`` exists and is not empty.
    """
    from espnet_s3router.files import replacing_dir  # not above: setup.py imports this file, and files needs PyYAML

    target, folder = Path(target), source()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target}: exists already and is not empty: choose another folder")
    listed = folder / MODES
    known = json.loads(listed.read_text(encoding="utf-8")) if listed.is_file() else describe(folder)
    with replacing_dir(target) as ready:
        for path in entries(folder):
            (ready / path).parent.mkdir(parents=True, exist_ok=True)
            if path.as_posix() not in known["links"]:
                shutil.copyfile(folder / path, ready / path)
        for name in known["modes"]:
            (ready / name).chmod(0o755)
        for name, place in known["links"].items():
            (ready / name).parent.mkdir(parents=True, exist_ok=True)
            (ready / name).symlink_to(place)
        recipes = ready / PARTS[0]
        return sorted(path.parent.relative_to(recipes).as_posix() for path in recipes.glob("*/*/run.sh"))
