"""Which GPUs a process may use: measured, where possible without importing PyTorch."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError, summary

VISIBLE = "CUDA_VISIBLE_DEVICES"
OTHER_DRIVERS = ("/dev/kfd", "/dev/dxg")
"""Devices of AMD and of WSL, whose GPUs PyTorch counts."""


def check_gpus(wanted: int) -> None:
    """InputError if fewer than ``wanted`` GPUs are there, or fewer are left by ``CUDA_VISIBLE_DEVICES``."""
    if wanted < 1 or has_other_driver():
        return
    names = gpus()
    if len(names) < wanted:
        raise InputError(f"ngpu is {wanted}, but this machine has {len(names)} NVIDIA GPUs. Set ngpu to {len(names)}")
    left = len(visible(names, os.environ))
    if left < wanted:
        raise InputError(
            f"ngpu is {wanted}, but {VISIBLE} is {os.environ[VISIBLE]!r}, which leaves {left} of the {len(names)} GPUs of "
            f"this machine. Unset it, or name GPUs from 0 to {len(names) - 1}"
        )


def usable_gpus() -> list[str]:
    """The GPUs that this process may use, as entries of ``CUDA_VISIBLE_DEVICES``."""
    if not has_other_driver():
        return visible(gpus(), os.environ)
    import torch

    count = torch.cuda.device_count()  # of those that the variable leaves
    value = os.environ.get(VISIBLE)
    return value.split(",")[:count] if value else [str(number) for number in range(count)]


def usable_device(name: Any) -> Any:
    """The ``torch.device`` of a name. Raises InputError if PyTorch cannot put tensors there."""
    import torch

    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: PyTorch without CUDA
        raise InputError(
            f"the device is {str(name)!r}, which cannot be used here: {summary(error)}. Expected cpu, or cuda on a machine "
            "whose GPU PyTorch can use"
        ) from error
    return device


def has_other_driver() -> bool:
    """True if there is a device whose GPUs are not NVIDIA's own."""
    return any(Path(device).exists() for device in OTHER_DRIVERS)


def gpus() -> list[str]:
    """A line for each NVIDIA GPU, with its UUID where nvidia-smi is installed."""
    if tool := shutil.which("nvidia-smi"):
        listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
        if listed.returncode == 0:
            return [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*"))


def visible(names: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The GPUs that CUDA shows, as entries of the variable: those before the first entry that names none.

    A UUID may be shortened. That of a part of a GPU (``MIG-``), and any where nvidia-smi did not list UUIDs, is believed.
    """
    value = environment.get(VISIBLE)
    if value is None:
        return [str(number) for number in range(len(names))]
    shown: list[str] = []
    for entry in (part.strip() for part in value.split(",")):
        number = entry.isdigit() and int(entry) < len(names)
        listed = not any("UUID" in name for name in names) or any(f"UUID: {entry}" in name for name in names)
        if not (number or entry.startswith("MIG-") or (entry.startswith("GPU-") and listed)):
            break
        shown.append(entry)
    return shown
