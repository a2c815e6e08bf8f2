"""What a point notes when it begins: the commit, and by content the models of other points that it begins from.

Its results belong with these. A dense model that is trained again, or copied from another machine, is another model under
the same name and configuration; and what is committed while a point trains is not what trained it.
"""

import functools
import json
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError
from espnet_s3router.experiments.specification import is_begun, origins_of
from espnet_s3router.files import digest, git_commit, read_yaml, write_atomic

NOTED = "begun.json"


def note_beginning(folder: Path) -> None:
    """Write ``begun.json``. Once an epoch is trained nothing is noted any more: what is there then need not be what the
    point began with."""
    if not is_begun(folder):
        models = {str(model): digest(model) for model in origins_of(read_yaml(folder / "train.yaml")) if model.is_file()}
        write_atomic(folder / NOTED, json.dumps({"commit": git_commit(), "models": models}, indent=1) + "\n")


def commit_of(folder: Path) -> str:
    """The commit that a point began with; the present one where it noted none."""
    return _noted(folder).get("commit") or git_commit()


def changed_origin(folder: Path) -> Path | None:
    """The first model that is another one now than the point began from. One that was removed is not: nothing is missing
    once a point is trained, and one that is not trained says so itself."""
    for name, before in _noted(folder).get("models", {}).items():
        model = Path(name)
        if model.is_file() and _digest(model, model.stat().st_mtime_ns) != before:
            return model
    return None


def refuse_changed_origin(folder: Path) -> None:
    """InputError if the point began from another model than lies under that name now."""
    if model := changed_origin(folder):
        raise InputError(
            f"{folder} began from another {model} than lies there now, with which its results would be compared. Remove "
            "the folder to train it anew, or put the former model back"
        )


def _noted(folder: Path) -> dict[str, Any]:
    file = folder / NOTED
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


@functools.cache
def _digest(model: Path, mtime_ns: int) -> str:
    """Of a file that has not changed since it was asked for last: every point of a seed begins from the same."""
    return digest(model)
