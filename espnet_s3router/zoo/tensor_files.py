"""Checkpoint files of packs: pickles of tensors and plain values. Other pickles may run code when they are loaded."""

import zipfile
from pathlib import Path

import torch

from espnet_s3router.errors import InputError, summary
from espnet_s3router.zoo.meta import files_below

CHECKPOINTS = (".pt", ".pth", ".bin")


def check_tensor_file(path: Path) -> None:
    """Raises InputError unless a file holds tensors and plain values alone. The tensors stay on the disk."""
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch and pickle raise many types
        raise InputError(
            f"{path}: is no file of tensors, and may run code when it is loaded: {summary(error)}. Expected one that "
            "torch.load reads with weights_only=True"
        ) from error


def check_checkpoints(folder: Path) -> None:
    """Raises InputError for the first checkpoint below ``folder`` that is no file of tensors."""
    for name in files_below(folder):
        if name.endswith(CHECKPOINTS):
            check_tensor_file(folder / name)
