"""Zip files of packs: equal folders give equal bytes, and nothing is unpacked outside the chosen folder."""

import shutil
import zipfile
from pathlib import Path

from espnet_s3router.errors import InputError, raise_problems
from espnet_s3router.files import replacing_file
from espnet_s3router.zoo.meta import ANOTHER, META, escapes, files_below

_TIME = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip file can hold."""


def write_zip(folder: Path, path: Path) -> None:
    """Write the files of ``folder`` to the zip file ``path``, ``meta.yaml`` first, in fixed order and with a fixed time.

    Files are stored as they are: weights hardly shrink, and bytes then depend on no version of zlib. Folders have entries of
    their own, because espnet_model_zoo rewrites only paths that the archive lists.
    """
    names = sorted(files_below(folder), key=lambda name: (name != META, name))
    folders = sorted({parent.as_posix() for name in names for parent in Path(name).parents} - {"."})
    with replacing_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in (*names[:1], *(f"{name}/" for name in folders), *names[1:]):
            info = zipfile.ZipInfo(name, _TIME)
            info.create_system = 3  # Unix, on every system
            info.external_attr = (0o40755 << 16 | 0x10) if name.endswith("/") else 0o100644 << 16
            if name.endswith("/"):
                archive.writestr(info, b"")
                continue
            info.file_size = (folder / name).stat().st_size
            with (folder / name).open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target, 2**20)


def extract(path: Path, folder: Path) -> None:
    """Unpack the zip file of a pack. Raises InputError for another file, a damaged one, and paths that leave ``folder``."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            links = {info.filename for info in archive.infolist() if (info.external_attr >> 28) == 0xA}
            problems = [f"{name}: leaves the archive" for name in names if escapes(name)]
            problems += [f"{name}: is a link" for name in sorted(links)]
            raise_problems(problems, str(path), "Nothing was unpacked. Do not use this file; ask who made it")
            if META not in names:
                raise InputError(f"{path}: holds no {META}, expected a pack that s3router pack wrote")
            archive.extractall(folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path}: is no zip file, or a damaged one: {error}. {ANOTHER}") from error
