"""A folder of routes, one file for each language or task: what a bank reads. All of them lie on one base."""

import re
from collections.abc import Iterable
from pathlib import Path

from espnet_s3router.errors import InputError
from espnet_s3router.files import write_atomic
from espnet_s3router.routes.file import RouteFile, open_route

SUFFIX = ".route"


def routes_in(folder: str | Path) -> list[Path]:
    """The route files of a folder, sorted. Raises InputError if it holds none."""
    if not (paths := _paths(Path(folder))):
        raise InputError(f"{folder}: holds no *{SUFFIX} file, expected a folder of routes. Write one: s3router route write")
    return paths


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def gather(files: Iterable[str | Path], folder: str | Path, name: str = "") -> list[Path]:
    """Copy route files to ``folder``/LANGUAGE.route and return the copies. A route of the same language is replaced.

    The language is that of the file's metadata. ``name`` replaces it for a single file. Raises InputError, before anything
    is copied, for a broken file, a missing or repeated language, and a base that is not that of all routes in the folder.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, expected a folder for the routes")
    routes = [open_route(path) for path in files]
    targets = [folder / f"{name or language_of(route)}{SUFFIX}" for route in routes]
    if twice := next((target for target in targets if targets.count(target) > 1), None):
        sources = ", ".join(str(route.path) for route, target in zip(routes, targets) if target == twice)
        raise InputError(f"{sources}: all are named {twice.stem}, expected one route for each language")
    others = [open_route(path) for path in _paths(folder) if path not in targets]
    for route in (*routes, *others):
        first = (*others, *routes)[0]
        if route.header["base"] != first.header["base"]:
            raise InputError(
                f"{route.path} and {first.path} belong to different bases, expected one base for all routes of {folder}. "
                "Choose another folder for the routes of another base"
            )
    for route, target in zip(routes, targets):
        write_atomic(target, route.path.read_bytes())
    return targets


def language_of(route: RouteFile) -> str:
    """The language in the metadata of a file. Raises InputError unless it can be the name of a file."""
    language = route.header["metadata"].get("language")
    if not isinstance(language, str) or not re.fullmatch(r"[\w-][\w.-]*", language):
        raise InputError(
            f"{route.path}: its language is {language!r}, expected a word such as nl, which names the copy. Write the route "
            "with --language, or copy it yourself"
        )
    return language
