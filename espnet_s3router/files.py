"""Files: atomic writes, locks, digests, YAML, and the commit of this package's source."""

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from espnet_s3router.errors import InputError

TEMPORARY_BYTES = 13
"""The most bytes that a temporary name has above the name of its file: two dots, a process id and ``.tmp``."""


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write ``content`` (text as UTF-8). ``path`` holds the old content or all of the new one, even after a crash.

    If ``path`` is a link, this and the functions below replace the target of the link.
    """
    with replacing_file(path) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def _target(path: str | Path) -> Path:
    """``path`` without links. Makes its parent. A rename would replace a link, and the folder it leads to would stay old."""
    target = Path(path).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


@contextmanager
def replacing_file(path: str | Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield the path of a temporary file, which replaces ``path`` if the block succeeds and is removed if it fails.

    The temporary name keeps the suffix of ``path``, by which some libraries choose a format. ``sync`` waits until the disk
    holds the content; it costs some milliseconds a file, and a file that can be made again does not need it.
    """
    path = _target(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        if sync:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_dir(path: str | Path) -> Iterator[Path]:
    """Yield a temporary directory, which replaces ``path`` if the block succeeds and is removed if it fails."""
    path = _target(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        put_in_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(finished: Path, path: Path) -> None:
    """Rename the directory ``finished`` to ``path`` and remove the directory that was there before.

    ``finished`` must lie on the disk of the target if ``path`` is a link, for example beside ``path.resolve()``.
    """
    path = _target(path)
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    if path.exists():
        path.rename(old)
    finished.rename(path)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Run the block in one process at a time for each ``path``. The end of a process, also by a kill, releases its lock.

    Other processes wait. With ``wait=False`` they raise BlockingIOError instead.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def digest(*paths: Path) -> str:
    """Return the SHA-256 of the joined contents of files, as hexadecimal digits. Raises OSError for a missing file."""
    sha = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: sha)
    return sha.hexdigest()


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object that this package wrote; empty if there is no such file."""
    file = Path(path)
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping. Raises InputError for any other content and for a file that cannot be read."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}. Give the path of a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {type(content).__name__}, expected a mapping of options")
    return content


def own_command(module: str) -> str:
    """Return the command line of this process without paths of this machine.

    ``module`` is the running module, named below this package (``results.page``).
    """
    return shlex.join(["python", "-m", f"espnet_s3router.{module}", *sys.argv[1:]])


def git_commit() -> str:
    """Return the short commit of this package's source, with ``+dirty`` if tracked files differ from it.

    Changes of result files do not count. The answer is ``unknown`` for a package that git does not track, even if its
    folder lies in another repository.
    """
    here = Path(__file__).resolve()

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)
        results = (":(top,exclude,glob)**/RESULTS*.md", ":(top,exclude,glob)**/results/**")
        dirty = git("status", "--porcelain", "--untracked-files=no", "--", ":/", *results)
        return git("rev-parse", "--short", "HEAD") + ("+dirty" if dirty else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
