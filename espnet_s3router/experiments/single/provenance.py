"""What results depend on: the commit and the models that a run started from, and the datasets.

Markers hold digests, so that a change is noticed. A dense model that is trained again, or copied from another machine, is
another model under the same name and configuration; so is a dataset that is prepared again.
"""

import functools
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError
from espnet_s3router.experiments.layout import LENGTHS, PROVENANCE, TEXT, TRAIN_CONFIG, is_started
from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.specification import origins_of
from espnet_s3router.files import digest, git_commit, read_json, read_yaml, write_atomic


def note_start(experiment: Path, command: str, further: Iterable[Path] = ()) -> None:
    """Write ``begun.json``, unless an epoch is trained already: the models may have changed since the run started.

    ``command``: the command of the recipe that starts the run; ``further``: models that its configuration does not name.
    """
    if not is_started(experiment):
        origins = [*origins_of(read_yaml(experiment / TRAIN_CONFIG)), *further]
        models = {str(model): digest(model) for model in origins if model.is_file()}
        about = {"commit": git_commit(), "command": command, "models": models}
        write_atomic(experiment / PROVENANCE, json.dumps(about, indent=1) + "\n")


def commit_of(experiment: Path) -> str:
    """The commit that a run started with; the present one if the run noted none."""
    return _read(experiment).get("commit") or git_commit()


def command_of(experiment: Path) -> str:
    """The command that started a run; empty if the run noted none."""
    return _read(experiment).get("command", "")


def without_folders(command: str) -> str:
    """A command with the last part alone of each absolute path, for files that leave this machine."""
    return re.sub(r"(?<![\w.:/~-])~?/(?:[^\s'\"/=]+/)*([^\s'\"/=]+)/?", r"\1", command)


def changed_origin(experiment: Path) -> Path | None:
    """The first model that has changed since the run started from it. A removed model does not count: a trained run needs it
    no more, and the training of an unfinished run reports it."""
    for name, before in _read(experiment).get("models", {}).items():
        model = Path(name)
        if model.is_file() and digest_of_model(model) != before:
            return model
    return None


def refuse_changed_origin(experiment: Path) -> None:
    """Raises InputError if a model that the run started from has changed."""
    if model := changed_origin(experiment):
        raise InputError(
            f"{experiment} started from {model}, which has changed since; its results would be compared with another model. "
            "Remove the folder to train it anew, or put the former model back"
        )


def _read(experiment: Path) -> dict[str, Any]:
    return read_json(experiment / PROVENANCE)


def digest_of_model(model: Path) -> str:
    """SHA-256 of a model file, computed once until the file changes."""
    return _digest(model, model.stat().st_mtime_ns)


@functools.cache
def _digest(model: Path, mtime_ns: int) -> str:
    """Digest of a file. All runs of a seed start from the same model, so it is kept until the file changes."""
    return digest(model)


def digest_of_data(*paths: Path) -> str:
    """SHA-256 of the files of a dataset, one after the other. Raises InputError for a missing file."""
    try:
        return digest(*paths)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}). Run stages 3 and 4") from error


def digest_of_recordings(options: Options, name: str) -> str:
    """Digest of the recordings' names and lengths of a test set."""
    return digest_of_data(Path(options.test_data(name), LENGTHS))


def digest_of_transcripts(options: Options, name: str) -> str:
    """Digest of the reference text of a test set."""
    return digest_of_data(Path(options.test_data(name), TEXT))


def names_of_data(options: Options) -> str:
    """Training set, validation set and token list of the statistics, in one line."""
    return f"{options.training_set} {options.valid_set} {options.token_list}\n"


def digests_of_data(options: Options) -> str:
    """Training and validation set, one line each: the name, and the digest of text and lengths."""
    folders = {name: Path(options.raw, name) for name in (options.training_set, options.valid_set)}
    digests = {name: digest_of_data(folder / TEXT, folder / LENGTHS) for name, folder in folders.items()}
    return "".join(f"{name} {value}\n" for name, value in digests.items())
