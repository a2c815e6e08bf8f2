"""The real-time factor of a finished experiment, as it would be deployed: with plain weights, and without removed units."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.deployment.bake import NotBakeable, bake_upstream, load_experiment
from espnet_s3router.plugin.deployment.encoding import real_time_factor
from espnet_s3router.plugin.deployment.finished import files_of, task_of
from espnet_s3router.plugin.frontend import FRONTEND_NAME

SMALLER = "shrunk"
"""Folder of the smaller model in the folder of a run that removes units."""


def experiment_rtf(experiment: Path, waves: Sequence[Tensor], model_file: str | None = None) -> float:
    """Seconds that encoding takes for each second of audio, one recording at a time: the median of three passes.

    Masks and low-rank updates are written into the weights first; adapters stay modules. A smaller model in the folder is
    timed instead of the trained one.

    Args:
        waves: audio (samples,) at 16 kHz.
        model_file: name of the model in the folder; by default that of the recipes.

    Raises InputError if the folder holds no model, or one that cannot be loaded.
    """
    smaller = experiment / SMALLER
    config, model_path = files_of(smaller) if smaller.is_dir() else files_of(experiment, model_file)
    try:
        model, args = load_experiment(config, model_path, task_of(config))
    except InputError as error:
        raise InputError(f"{error}. Relative paths hold in the folder of the recipe: call the command there") from error
    if args.frontend == FRONTEND_NAME:
        with suppress(NotBakeable):  # modules that a method adds are part of what runs
            bake_upstream(model.frontend.expert)
    return real_time_factor(model, waves)
