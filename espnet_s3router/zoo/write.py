"""Writing a pack: a temporary folder is filled, checked and put in place, as a folder or as a zip file."""

import shutil
import tempfile
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


@contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """A temporary folder on the disk of ``out``. Raises InputError if ``out`` is a folder that holds something else."""
    if out.is_dir() and any(out.iterdir()) and not (out / META).is_file():
        raise InputError(f"{out}: is a folder that holds other files: choose another name, for example {out.name}.zip")
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
