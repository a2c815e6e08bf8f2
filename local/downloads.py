"""Folders that are made once, with a marker that tells a complete folder from an interrupted one."""

from collections.abc import Callable
from pathlib import Path

from espnet_s3router.files import replacing_dir

DONE = ".done"


def make_once(folder: Path, fill: Callable[[Path], str]) -> Path:
    """Return ``folder``. Without its marker, call ``fill`` with a new folder, which replaces it on success.

    ``fill`` returns the source of the content, which the marker holds.
    """
    if not (folder / DONE).is_file():
        with replacing_dir(folder) as temporary:
            source = fill(temporary)
            (temporary / DONE).write_text(f"{source}\n", encoding="utf-8")
    return folder
