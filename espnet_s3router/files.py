"""Files: written whole or not at all, locked, digested, and the commit of this source tree."""

import fcntl
import hashlib
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


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write ``content`` (text as UTF-8) so that ``path`` holds the old content or all of the new, even after a crash."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing_file(path) as temporary, open(temporary, "wb") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replacing_file(path: str | Path) -> Iterator[Path]:
    """Path of a temporary file that becomes ``path`` if the block succeeds and is removed if it does not.

    The temporary name keeps the suffix of ``path``, by which some libraries choose a format.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_dir(path: str | Path) -> Iterator[Path]:
    """A temporary directory that becomes ``path`` if the block succeeds and is removed if it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        put_in_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(finished: Path, path: Path) -> None:
    """Rename the directory ``finished`` to ``path``; a directory already there is replaced."""
    old = path.parent / f".{path.name}.{os.getpid()}.old"
    if path.exists():
        path.rename(old)
    finished.rename(path)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time run the block for the same ``path``; others wait. A killed process releases the lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def digest(*paths: Path) -> str:
    """SHA-256 of the contents of files, one after the other, as hexadecimal digits. Raises OSError for a missing file."""
    sha = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: sha)
    return sha.hexdigest()


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML mapping; InputError for anything else."""
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
    """The command line of this process as any machine would type it: ``python -m`` a module of this package."""
    return shlex.join(["python", "-m", f"espnet_s3router.{module}", *sys.argv[1:]])


def git_commit() -> str:
    """Short commit of this package's source, with ``+dirty`` where tracked files differ; result files do not count.

    A package installed without its repository gives ``unknown``, whatever repository its folder lies in.
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
