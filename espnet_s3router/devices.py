"""Which GPUs a process may use, found without importing PyTorch."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from espnet_s3router.errors import InputError

OTHER_DRIVERS = ("/dev/kfd", "/dev/dxg")
"""Devices of AMD and of WSL, whose GPUs are not counted here."""


def check_gpus(wanted: int) -> None:
    """InputError if fewer than ``wanted`` GPUs are there, or fewer are left by ``CUDA_VISIBLE_DEVICES``."""
    if wanted < 1 or any(Path(device).exists() for device in OTHER_DRIVERS):
        return
    names = gpus()
    if len(names) < wanted:
        raise InputError(f"ngpu is {wanted}, but this machine has {len(names)} NVIDIA GPUs. Set ngpu to {len(names)}")
    left = visible(names, os.environ)
    if left < wanted:
        value = os.environ["CUDA_VISIBLE_DEVICES"]
        raise InputError(
            f"ngpu is {wanted}, but CUDA_VISIBLE_DEVICES is {value!r}, which leaves {left} of the {len(names)} GPUs of this "
            f"machine. Unset it, or name GPUs from 0 to {len(names) - 1}"
        )


def gpus() -> list[str]:
    """A line for each NVIDIA GPU, with its UUID where nvidia-smi is installed."""
    if tool := shutil.which("nvidia-smi"):
        listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
        if listed.returncode == 0:
            return [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*"))


def visible(names: list[str], environment: Mapping[str, str]) -> int:
    """How many GPUs CUDA shows: those in ``CUDA_VISIBLE_DEVICES`` before the first entry that names none."""
    value = environment.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return len(names)
    count = 0
    for entry in (part.strip() for part in value.split(",")):
        number = entry.isdigit() and int(entry) < len(names)
        by_uuid = entry.startswith(("GPU-", "MIG-"))
        if not number and not by_uuid:
            break
        count += 1
    return count
