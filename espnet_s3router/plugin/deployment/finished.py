"""The files of a finished experiment, by its folder."""

from pathlib import Path

from espnet_s3router.errors import InputError
from espnet_s3router.files import read_yaml

MODEL = "valid.cer_ctc.ave.pth"
"""The model that the recipes decode with."""
SMALLER = "model.pth"
"""The model in a folder of ``s3router shrink``."""


def files_of(experiment: str | Path, model_file: str | None = None) -> tuple[Path, Path]:
    """(config.yaml, model file) in an experiment folder. Without ``model_file`` it is the recipes' model, the only averaged
    one, or that of a folder of ``s3router shrink``. InputError if there is none."""
    folder = Path(experiment)
    config = folder / "config.yaml"
    if not config.is_file():
        raise InputError(f"{folder} holds no config.yaml: give the folder of a finished experiment, below exp")
    if model_file is not None or (folder / MODEL).exists():
        model = folder / (model_file or MODEL)
        if not model.is_file():
            raise InputError(f"{model}: there is no such file. Expected a model in {folder}: {_models(folder)}")
        return config, model
    averaged = sorted(folder.glob("*.ave.pth")) or list(folder.glob(SMALLER))
    if len(averaged) != 1:
        raise InputError(f"{folder} holds no {MODEL}. Choose a model with --model_file: {_models(folder)}")
    return config, averaged[0]


def task_of(config: Path) -> str:
    """asr or slu: the task of ESPnet that wrote a config.yaml. The post-decoder is an option of slu alone."""
    return "slu" if "postdecoder" in read_yaml(config) else "asr"


def _models(folder: Path) -> str:
    """The names of models in a folder, for messages."""
    return ", ".join(sorted(path.name for path in folder.glob("*.pth") if not path.name.startswith("checkpoint"))) or "none"
