"""The checks of ``s3router doctor``. None of them needs a working ESPnet: a broken one is what they report."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from espnet_s3router.errors import InputError, summary

OK, WARNING, ERROR = "ok", "warning", "error"
PYTHONS = ((3, 11), (3, 13))
"""Oldest and newest Python that ESPnet supports."""
REQUIRED = ("espnet", "torch", "transformers", "safetensors", "constriction", "espnet_model_zoo")
FREE_GB = 10
"""Disk for an environment; a run needs some hundred MB more."""
FORK = "espnet-s3prl"


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    state: str
    """ok, warning or error"""
    value: str
    fix: str = ""
    """How to mend it; empty if nothing is wrong."""


def installation() -> list[Finding]:
    """All checks that load no upstream."""
    found = [
        _python(),
        _package("espnet-s3router"),
        *map(_package, REQUIRED),
        _torchaudio(),
        _s3prl(packages_distributions().get("s3prl", ())),
    ]
    return [*found, _devices(), _disk(Path.cwd()), _cache(), _token()]


def _python() -> Finding:
    value = f"{platform.python_version()} ({sys.executable}) on {platform.platform()}"
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return Finding("python", OK, value)
    return Finding("python", ERROR, value, "Make an environment with Python 3.11, 3.12 or 3.13, the versions of ESPnet")


def _package(name: str) -> Finding:
    try:
        return Finding(name, OK, version(name))
    except PackageNotFoundError:
        return Finding(name, ERROR, "not installed", f"pip install {name}, or install this package again: pip install .")


def _torchaudio() -> Finding:
    """Whether the libraries of torchaudio load with the torch that is installed."""
    found = _package("torchaudio")
    if found.state != OK:
        return found
    try:
        import torchaudio  # noqa: F401
    except (OSError, ImportError) as error:
        fix = "torchaudio must fit torch. Try: pip install torchaudio==2.11.0, or the version with the number of torch"
        return Finding("torchaudio", ERROR, f"{found.value} does not load: {summary(error)}", fix)
    return found


def _s3prl(distributions: Iterable[str]) -> Finding:
    """Which distribution the module s3prl is of; the original one calls functions that torchaudio has removed."""
    names = sorted(set(distributions))
    value = ", ".join(f"{name} {version(name)}" for name in names) or "not installed"
    if names == [FORK]:
        return Finding("s3prl", OK, value)
    fix = f"pip uninstall -y s3prl {FORK} && pip install {FORK}"
    return Finding("s3prl", ERROR, value, f"Expected {FORK} alone, which works with this PyTorch: {fix}")


def _devices() -> Finding:
    from espnet_s3router.devices import VISIBLE, gpus, usable_gpus

    cores = len(os.sched_getaffinity(0))
    names = gpus()
    try:
        usable = usable_gpus()
    except Exception as error:  # PyTorch raises many types on broken drivers
        return Finding("devices", WARNING, f"{cores} cores, GPUs unknown", f"PyTorch cannot count GPUs: {summary(error)}")
    value = f"{cores} cores, {len(usable)} of {len(names)} GPUs usable"
    if names and not usable:
        return Finding("devices", WARNING, value, f"{VISIBLE} is {os.environ.get(VISIBLE)!r}: unset it to use a GPU")
    return Finding("devices", OK, value)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 1e9
    value = f"{free:.0f} GB free in {folder}"
    if free >= FREE_GB:
        return Finding("disk", OK, value)
    return Finding("disk", WARNING, value, f"Free some: an environment takes {FREE_GB} GB, and each run some hundred MB")


def _cache() -> Finding:
    """Where models of the hub and of s3prl go."""
    folder = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    near = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=near):
            return Finding("cache", OK, f"{folder} can be written")
    except OSError as error:
        fix = "Set HF_HOME to a folder that you may write. Packs in files and folders open without it"
        return Finding("cache", WARNING, f"{folder}: {error.strerror}", fix)


def _token() -> Finding:
    """Whether there is a token. It is never shown."""
    from huggingface_hub import get_token

    if get_token():
        return Finding("hub token", OK, "there is one")
    return Finding("hub token", OK, "none; only s3router upload and private models need one (HF_TOKEN)")


def upstream(name: str, path_or_url: str | None = None) -> Finding:
    """Whether an upstream loads; the value is the YAML that loads it."""
    source = {"upstream": name} | ({"path_or_url": path_or_url} if path_or_url else {})
    yaml = "{" + ", ".join(f"{key}: {value}" for key, value in source.items()) + "}"
    try:
        from espnet_s3router.plugin.frontend import MaskedUpstream

        frontend = MaskedUpstream(frontend_conf=source, mask_conf={"method": "head_only"})
    except InputError as error:
        return Finding("upstream", ERROR, yaml, str(error))
    except Exception as error:  # ESPnet and s3prl raise many types
        fix = "If it must be downloaded, check the network; otherwise report this with s3router doctor --json"
        return Finding("upstream", ERROR, f"{yaml}: {summary(error)}", fix)
    size = sum(parameter.numel() for parameter in frontend.parameters()) / 1e6
    conf = f"frontend: masked_upstream, frontend_conf: {{frontend_conf: {yaml}}}"
    return Finding("upstream", OK, f"{conf}; {frontend.family.name}, {size:.1f} M parameters")
