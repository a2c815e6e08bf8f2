"""Download Debian packages with apt-get and unpack them without installing them.

Systems without apt-get cannot use this module; their users download the corpus by hand.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.errors import InputError
from local.downloads import DONE, make_once

APT_TIMEOUT_S = 900


def fetch(packages: Sequence[str], folder: Path) -> Path:
    """Return ``folder`` with the files of ``packages``, downloaded unless it is complete.

    Raises InputError that names the packages when they cannot be downloaded.
    """

    def fill(temporary: Path) -> str:
        fetch_into(packages, temporary)
        return "\n".join(packages)

    try:
        return make_once(folder, fill)
    except (OSError, subprocess.SubprocessError) as error:
        raise InputError(
            f"Debian packages {', '.join(packages)}: {reason(error)}. Expected a network connection; or unpack them by "
            f"hand (dpkg-deb -x) into {folder} and make the file {folder / DONE}"
        ) from error


def reason(error: Exception) -> str:
    """The message of a failed command, or the type and text of another error."""
    if isinstance(error, subprocess.CalledProcessError):
        return f"{' '.join(error.cmd[:2])} failed: {(error.stderr or '').strip()[-300:]}"
    return f"{type(error).__name__}: {error}"


def fetch_into(packages: Sequence[str], folder: Path) -> None:
    """Download ``packages`` with apt-get and unpack them into the existing ``folder``.

    The package lists of the system are used first. If they are old or absent, fresh lists are downloaded into ``folder``,
    which needs no special rights and leaves the system unchanged.
    """
    if shutil.which("apt-get") is None:
        raise InputError("apt-get not found: no Debian system")
    debs = folder / "packages"
    debs.mkdir()
    try:
        _apt(["download", *packages], debs, [])
    except subprocess.CalledProcessError:
        options = _private_lists(folder / "apt")
        _apt(["update"], debs, options)
        _apt(["download", *packages], debs, options)
    for deb in sorted(debs.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], check=True, capture_output=True, text=True)
    shutil.rmtree(debs)
    shutil.rmtree(folder / "apt", ignore_errors=True)


def _private_lists(folder: Path) -> list[str]:
    """Options of apt-get that keep package lists and cache below ``folder``."""
    for sub in ("lists/partial", "cache/archives/partial"):
        (folder / sub).mkdir(parents=True)
    absolute = folder.resolve()
    return ["-o", f"Dir::State::lists={absolute}/lists", "-o", f"Dir::Cache={absolute}/cache"]


def _apt(command: Sequence[str], cwd: Path, options: Sequence[str]) -> None:
    # The sandbox user of apt cannot write into our folder, so root downloads as root.
    sandbox = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    whole = ["apt-get", "-q", "-o", "Acquire::Retries=3", *sandbox, *options, *command]
    subprocess.run(whole, cwd=cwd, check=True, capture_output=True, text=True, timeout=APT_TIMEOUT_S)
