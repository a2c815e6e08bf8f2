"""Recordings that Debian carries as packages: fetched with apt-get and unpacked, never installed.

On other systems than Debian and its relatives there is no apt-get, and the corpus has to be got by hand.
"""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.errors import InputError
from espnet_s3router.files import replacing_dir

DONE = ".done"
APT_TIMEOUT_S = 900


def fetch(packages: Sequence[str], folder: Path) -> Path:
    """``folder`` with the files of ``packages`` in it, fetched unless its done-marker is there.

    Raises InputError that names the packages when they cannot be got.
    """
    if (folder / DONE).is_file():
        return folder
    try:
        with replacing_dir(folder) as temporary:
            fetch_into(packages, temporary)
            (temporary / DONE).write_text("".join(f"{name}\n" for name in packages))
    except (OSError, subprocess.SubprocessError, tarfile.TarError) as error:
        raise InputError(
            f"Debian packages {', '.join(packages)}: {reason(error)}. Expected a network connection; or unpack them by "
            f"hand (dpkg-deb -x) into {folder} and make the file {folder / DONE}"
        ) from error
    return folder


def reason(error: Exception) -> str:
    """What a failed command said, or the error's kind and text."""
    if isinstance(error, subprocess.CalledProcessError):
        return f"{' '.join(error.cmd[:2])} failed: {(error.stderr or '').strip()[-300:]}"
    return f"{type(error).__name__}: {error}"


def fetch_into(packages: Sequence[str], folder: Path) -> None:
    """Download ``packages`` with apt-get and unpack them into the existing ``folder``.

    First with the system's package lists; if those are stale or absent, with fresh ones kept in a
    folder of our own, which needs no rights and changes nothing on the system.
    """
    if shutil.which("apt-get") is None:
        raise InputError("apt-get not found: no Debian system")
    debs = folder / "packages"
    debs.mkdir()
    try:
        _apt(["download", *packages], debs, [])
    except subprocess.CalledProcessError:
        own = _own_apt_folders(folder / "apt")
        _apt(["update"], debs, own)
        _apt(["download", *packages], debs, own)
    for deb in sorted(debs.glob("*.deb")):
        unpack_deb(deb, folder)
    shutil.rmtree(debs)
    shutil.rmtree(folder / "apt", ignore_errors=True)


def _own_apt_folders(folder: Path) -> list[str]:
    for sub in ("lists/partial", "cache/archives/partial"):
        (folder / sub).mkdir(parents=True)
    absolute = folder.resolve()
    return ["-o", f"Dir::State::lists={absolute}/lists", "-o", f"Dir::Cache={absolute}/cache"]


def _apt(command: Sequence[str], cwd: Path, options: Sequence[str]) -> None:
    # apt's sandbox user may not write into our folder; root keeps its own rights for the download.
    own_rights = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    whole = ["apt-get", "-q", "-o", "Acquire::Retries=3", *own_rights, *options, *command]
    subprocess.run(whole, cwd=cwd, check=True, capture_output=True, text=True, timeout=APT_TIMEOUT_S)


def unpack_deb(deb: Path, folder: Path) -> None:
    """Unpack a Debian package with dpkg-deb, or without it where Python can read its compression."""
    if shutil.which("dpkg-deb"):
        subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], check=True, capture_output=True, text=True)
        return
    for name, content in read_ar(deb.read_bytes()):
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                archive.extractall(folder, filter="data")
            return
    raise InputError(f"{deb} holds no data.tar. Install dpkg or download the package again.")


def read_ar(content: bytes) -> list[tuple[str, bytes]]:
    """(name, content) of the members of a Unix ar archive, the outer form of a Debian package."""
    if not content.startswith(b"!<arch>\n"):
        raise InputError("got a file that is no Debian package. Download it again.")
    members, position = [], 8
    while position + 60 <= len(content):
        header = content[position : position + 60]  # name 16, times and owners 32, size 10, magic 2
        size = int(header[48:58])
        members.append((header[:16].decode().strip().rstrip("/"), content[position + 60 : position + 60 + size]))
        position += 60 + size + size % 2
    return members
