"""Model files of other runs, which training reads: as a start, an initial mask or a teacher."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.files import read_yaml
from espnet_s3router.plugin.checkpoint import FINGERPRINT, FRONTEND_KEYS


def check_finished(path: str, option: str) -> None:
    """InputError when ``path`` is no file, or lies in an experiment folder whose run is not finished."""
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{option} is {path!r}, and there is no such file. Expected a model file (.pth)")
    if (file.parent / "train.yaml").exists() and not (file.parent / ".trained").exists():
        raise InputError(f"{option}: the run in {file.parent} is not finished. Train it to the end first")


def read_model_file(path: str, option: str, model: Any) -> dict[str, Tensor]:
    """The tensors of a model file on the CPU; InputError unless a finished run on the upstream of ``model`` wrote it."""
    check_finished(path, f"mask_conf: {option}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types on foreign files
        raise InputError(f"mask_conf: {option}: {path} is no model file: {type(error).__name__}") from error
    fingerprint = state.get(FRONTEND_KEYS + FINGERPRINT) if isinstance(state, dict) else None
    if not isinstance(fingerprint, Tensor):
        raise InputError(
            f"mask_conf: {option}: {path} is no model file of a run with frontend masked_upstream. "
            "Expected its valid.….ave.pth or …epoch.pth"
        )
    if not torch.equal(fingerprint, getattr(model.frontend, FINGERPRINT).cpu()):
        raise InputError(f"mask_conf: {option}: {path} was trained on another upstream than this run's")
    return state


def config_beside(path: str) -> dict[str, Any]:
    """The config.yaml in the folder of a model file; empty if there is none."""
    config = Path(path).with_name("config.yaml")
    return read_yaml(config) if config.exists() else {}


def mask_conf_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The method and its options in an ESPnet configuration."""
    return (config.get("frontend_conf") or {}).get("mask_conf") or {}


def check_shape(name: str, tensor: Tensor, expected: Tensor) -> None:
    """InputError when two tensors differ in shape."""
    if tensor.shape != expected.shape:
        raise InputError(f"mask_conf: {name} has shape {tuple(tensor.shape)}, expected {tuple(expected.shape)}")
