"""Plots of a recipe in a pack: files beside the card, which shows them by relative paths."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.errors import raise_problems

FOLDER = "plots"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def check_plots(plots: Sequence[str | Path]) -> None:
    """Raises InputError unless ``plots`` are PNG files with different names."""
    paths = list(map(Path, plots))
    problems = [f"{path}: there is no such file" for path in paths if not path.is_file()]
    problems += [f"{path}: is no PNG file" for path in paths if path.is_file() and not _is_png(path)]
    names = [path.name for path in paths]
    problems += [f"{name}: two plots have this name" for name in dict.fromkeys(names) if names.count(name) > 1]
    raise_problems(problems, "plots", "Nothing was packed. Give PNG files, such as exp/cer_against_sparsity.png")


def _is_png(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix == ".png" and file.read(len(_SIGNATURE)) == _SIGNATURE


def add_plots(folder: Path, plots: Sequence[str | Path]) -> dict[str, list[str]]:
    """Copy plots into the pack in ``folder``. Returns the fact ``plots`` of the pack, their paths there; empty for none."""
    paths = [Path(FOLDER, Path(plot).name) for plot in plots]
    for plot, path in zip(plots, paths):
        (folder / FOLDER).mkdir(exist_ok=True)
        shutil.copyfile(plot, folder / path)
    return {"plots": [path.as_posix() for path in paths]} if paths else {}
