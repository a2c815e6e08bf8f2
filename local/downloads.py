"""Folders that are made once, with a marker that tells a complete folder from an interrupted one."""

from collections.abc import Callable
from pathlib import Path

from espnet_s3router.files import replacing_dir

DONE = ".done"


CHECK = "--check_corpus"
CHECK_HELP = "say what is there and what would be downloaded, and stop"


def is_made(folder: Path) -> bool:
    """True if ``make_once`` has made the folder."""
    return (folder / DONE).is_file()


def make_once(folder: Path, fill: Callable[[Path], str]) -> Path:
    """Return ``folder``. Without its marker, call ``fill`` with a new folder, which replaces it on success.

    ``fill`` returns the source of the content, which the marker holds.
    """
    if not is_made(folder):
        with replacing_dir(folder) as temporary:
            source = fill(temporary)
            (temporary / DONE).write_text(f"{source}\n", encoding="utf-8")
    return folder
