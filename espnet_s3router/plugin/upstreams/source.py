"""Which upstream a configuration names: the ``frontend_conf`` within ``frontend_conf``, checked and resolved."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError
from espnet_s3router.upstreams import EMBEDDED

SOURCE_KEYS = ("upstream", "path_or_url", "normalize", "extra_conf", "tile_factor", "shrunk")
"""The keys that ESPnet's S3prlFrontend reads in the inner ``frontend_conf``, and ours: ``shrunk``, a file of
``s3router shrink`` that takes the place of the weights."""

_OPENED: ContextVar[Path | None] = ContextVar("opened_folder", default=None)
"""Folder of the config.yaml that a model is built from."""


@contextmanager
def opening(config: str | Path | None) -> Iterator[None]:
    """Within the block, models are built from the file ``config``: ``located`` looks beside it."""
    token = _OPENED.set(None if config is None else Path(config).resolve().parent)
    try:
        yield
    finally:
        _OPENED.reset(token)


def located(source: Mapping[str, Any]) -> dict[str, Any]:
    """``source`` with the smaller upstream beside the opened config.yaml, if it is not where ``shrunk`` says.

    ``s3router shrink`` writes both into one folder and names it by its absolute path. The folder may have moved since.
    """
    check_source(source)
    path, folder = source.get("shrunk"), _OPENED.get()
    if not isinstance(path, str) or folder is None or Path(path).exists() or not (folder / Path(path).name).is_file():
        return dict(source)
    return {**source, "shrunk": str(folder / Path(path).name)}


def check_source(source: Any) -> None:
    """Raises InputError for options at the wrong level, which would otherwise be ignored."""
    if not isinstance(source, Mapping):
        raise InputError(f"frontend_conf: the frontend_conf within it is {source!r}, expected at least {{upstream: NAME}}")
    for key in source:
        if key not in SOURCE_KEYS:
            raise InputError(
                f"frontend_conf: the frontend_conf within it holds {key!r}, expected some of {', '.join(SOURCE_KEYS)}. "
                "Everything else, such as mask_conf, belongs one level up"
            )
    if source.get("upstream") in EMBEDDED and source.get("path_or_url") is not None:
        raise InputError(
            f"frontend_conf: path_or_url is {source['path_or_url']!r}, but {source['upstream']} comes with this package. "
            "Remove it, or name the entry of s3prl that loads the path, such as hf_hubert_custom"
        )


def resolve_source(source: dict[str, Any]) -> tuple[str, str | None, dict[str, Any]]:
    """(s3prl entry, path or url, extra configuration); InputError for an unknown entry or a missing file."""
    from s3prl.nn import S3PRLUpstream

    check_source(source)
    name: Any = source.get("upstream")
    path: Any = source.get("path_or_url")
    if name in EMBEDDED:
        name, folder = EMBEDDED[name]
        path = str(folder)
    available = S3PRLUpstream.available_names()
    if name not in available:
        near = get_close_matches(str(name), [*available, *EMBEDDED], n=5, cutoff=0.3)
        raise InputError(f"frontend_conf: upstream is {name!r}, which s3prl does not know; near: {', '.join(near)}")
    local = path is not None and "://" not in str(path) and name.rsplit("_", 1)[-1] in ("custom", "local")
    if local and not Path(path).exists() and not may_be_hub_id(name, path):
        raise InputError(f"frontend_conf: path_or_url is {path!r}, and there is no such file or folder")
    if local and name.startswith("hf_") and Path(path).is_dir():
        check_folder(Path(path))
    if path is None and name.endswith(("_custom", "_local", "_url")):
        raise InputError(f"frontend_conf: upstream {name} needs path_or_url")
    return name, path, source.get("extra_conf") or {}


def check_folder(folder: Path) -> None:
    """InputError if a file that transformers needs is not in the folder of a model."""
    for name, holds in (("config.json", "the shape of the model"), ("preprocessor_config.json", "its audio features")):
        others = ("processor_config.json",) if name.startswith("pre") else ()  # of transformers from version 5
        if not any((folder / file).is_file() for file in (name, *others)):
            raise InputError(
                f"frontend_conf: {folder} has no {name} ({holds}). Copy it from the source of the model, or write it with "
                "save_pretrained of transformers"
            )


def may_be_hub_id(name: str, path: Any) -> bool:
    """True if a path may name a model of the Hugging Face hub, as ``owner/name``."""
    return name.startswith("hf_") and str(path).count("/") == 1 and not str(path).startswith((".", "/"))
