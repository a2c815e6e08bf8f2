"""The models of other points that a point begins from, by content: its results belong with these models.

A dense model that is trained again, or copied from another machine, is another model under the same name and configuration.
"""

from pathlib import Path

from espnet_s3router.errors import InputError
from espnet_s3router.recipe.results import write_atomic
from espnet_s3router.recipe.sets import digest
from espnet_s3router.recipe.spec import is_begun, origins_of, read_yaml

NOTED = "origins.sha256"
"""In the folder of a point; as ``sha256sum`` writes and checks it."""


def note_origins(folder: Path) -> None:
    """Write down what a point is about to begin from. Once an epoch is trained nothing is noted any more: what lies there
    then need not be what it began from."""
    models = [model for model in origins_of(read_yaml(folder / "train.yaml")) if model.is_file()]
    if models and not is_begun(folder):
        write_atomic(folder / NOTED, "".join(f"{digest(model)}  {model}\n" for model in models))


def changed_origin(folder: Path) -> Path | None:
    """The first model that is another one now than the point began from. One that was removed is not: nothing is missing
    once a point is trained, and one that is not trained says so itself."""
    noted = folder / NOTED
    lines = noted.read_text(encoding="utf-8").splitlines() if noted.exists() else []
    for before, model in ((before, Path(name)) for before, name in (line.split("  ", 1) for line in lines)):
        if model.is_file() and digest(model) != before:
            return model
    return None


def refuse_changed_origin(folder: Path) -> None:
    """InputError if the point began from another model than lies under that name now."""
    if model := changed_origin(folder):
        raise InputError(
            f"{folder} began from another {model} than lies there now, with which its results would be compared. Remove "
            "the folder to train it anew, or put the former model back"
        )
