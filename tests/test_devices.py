"""GPUs are counted, and not believed."""

import subprocess

import pytest

from espnet_s3router import devices
from espnet_s3router.errors import InputError

TWO = ["GPU 0: H200 (UUID: GPU-aa)", "GPU 1: H200 (UUID: GPU-bb)"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ["0", "1"]),
        ("0", ["0"]),
        ("1,0", ["1", "0"]),
        ("0, 1", ["0", "1"]),
        ("", []),
        ("-1", []),
        ("2", []),
        ("0,2,1", ["0"]),
        ("GPU-aa", ["GPU-aa"]),
        ("GPU-b,GPU-cc,0", ["GPU-b"]),
        ("MIG-x", ["MIG-x"]),
        ("none", []),
    ],
)
def test_visible(value, shown):
    """CUDA stops at the first entry that names no GPU."""
    assert devices.visible(TWO, {} if value is None else {"CUDA_VISIBLE_DEVICES": value}) == shown


def test_without_nvidia_smi_a_uuid_is_believed():
    assert devices.visible(["/dev/nvidia0"], {"CUDA_VISIBLE_DEVICES": "GPU-aa,7"}) == ["GPU-aa"]


@pytest.mark.parametrize(("value", "shown"), [(None, ["0", "1"]), ("3,5,7", ["3", "5"])])
def test_pytorch_counts_the_gpus_of_other_makers(monkeypatch, value, shown):
    import torch

    monkeypatch.setattr(devices, "OTHER_DRIVERS", ("/dev",))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if value:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert devices.usable_gpus() == shown


def test_check(monkeypatch):
    monkeypatch.setattr(devices, "OTHER_DRIVERS", ())
    monkeypatch.setattr(devices, "gpus", lambda: [])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    devices.check_gpus(0)
    with pytest.raises(InputError, match="ngpu is 1, but this machine has 0 NVIDIA GPUs. Set ngpu to 0"):
        devices.check_gpus(1)
    monkeypatch.setattr(devices, "gpus", lambda: TWO)
    devices.check_gpus(1)
    with pytest.raises(InputError, match="CUDA_VISIBLE_DEVICES is '0', which leaves 1 of the 2 GPUs .* from 0 to 1"):
        devices.check_gpus(2)
    monkeypatch.setattr(devices, "OTHER_DRIVERS", ("/dev",))
    devices.check_gpus(9)  # GPUs of other makers are not counted


def test_gpus_of_nvidia_smi(monkeypatch):
    monkeypatch.setattr(devices.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(
        devices.subprocess,
        "run",
        lambda *words, **options: subprocess.CompletedProcess(words, 0, "\n".join([*TWO, "  MIG 1g"]), ""),
    )
    assert devices.gpus() == TWO
