"""Writing a pack: a temporary folder is filled, checked and put in place, as a folder or as a zip file."""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from espnet_s3router.errors import InputError
from espnet_s3router.files import replacing_dir
from espnet_s3router.zoo.archive import write_zip
from espnet_s3router.zoo.meta import META


@dataclass(frozen=True)
class Packed:
    """A pack that was opened again."""

    path: Path
    kind: str
    bytes: int
    texts: dict[str, list[str]]
    """What each route, or the one model, recognised in the recordings of the check."""


def check_out(out: Path) -> None:
    """Raises InputError unless ``out`` is new, an empty folder or an older pack. Nothing else may be replaced by a pack."""
    archive, problem = out.suffix == ".zip", ""
    if out.is_dir():
        if archive:
            problem = "is a folder, and the name is that of a zip file"
        elif any(out.iterdir()) and not (out / META).is_file():
            problem = "is a folder that holds other files"
    elif out.exists() and not (archive and _holds_pack(out)):
        problem = "is a file that holds no pack, and would be replaced"
    if problem:
        raise InputError(f"{out}: {problem}. Choose another name for the pack, for example {out.stem or 'model'}_pack.zip")


def _holds_pack(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return META in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


@contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """A temporary folder on the disk of ``out``."""
    out.resolve().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".s3router_pack_", dir=out.resolve().parent) as name:
        yield Path(name)


def put_pack(folder: Path, out: Path) -> int:
    """Put the finished pack in ``folder`` at ``out``: a zip file if it ends in ``.zip``, else a folder. Returns bytes."""
    if out.suffix == ".zip":
        write_zip(folder, out)
        return out.stat().st_size
    with replacing_dir(out) as target:
        shutil.copytree(folder, target, dirs_exist_ok=True)
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
