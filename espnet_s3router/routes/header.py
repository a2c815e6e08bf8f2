"""The header of a route file: its fields, and what is wrong with those that another version or program wrote."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError
from espnet_s3router.masks import Candidates
from espnet_s3router.routes.container import ANOTHER_COPY
from espnet_s3router.routes.entropy import CODER, CODER_VERSION

FORMAT = 2
"""The newest format. Format 2 may hold a rule of candidates, and tensors of bytes. Files without them have format 1."""
_FIELDS = {
    "format": int,
    "coder": str,
    "coder_version": str,
    "base": str,
    "sites": list,
    "masks_sha256": str,
    "tokens": list,
    "config": dict,
    "metadata": dict,
}
_INNER: dict[str, dict[str, type]] = {
    "config": {"decoding": dict, "token_type": str},
    "metadata": {"task": str, "method": str},
}
"""Entries of a field that readers use. They may be missing or null."""


def check_header(path: Path, header: Mapping[str, Any]) -> None:
    """Raises InputError for another format or coder, and for fields of a wrong type."""
    written = header.get("format")
    if isinstance(written, int) and written > FORMAT:
        raise InputError(
            f"{path}: has format {written}, expected at most {FORMAT}: a newer espnet-s3router wrote it. Upgrade"
        )
    for name, kind in _FIELDS.items():
        if not isinstance(header.get(name), kind) or isinstance(header[name], bool):
            raise InputError(f"{path}: field {name} is {header.get(name)!r:.60}, expected {kind.__name__}. {ANOTHER_COPY}")
    for name, entries in _INNER.items():
        for key, kind in entries.items():
            value = header[name].get(key)
            if value is not None and not isinstance(value, kind):
                raise InputError(f"{path}: {key} in {name} is {value!r:.60}, expected {kind.__name__}. {ANOTHER_COPY}")
    if header["coder"] != CODER or _newer(header["coder_version"], CODER_VERSION):
        raise InputError(
            f"{path}: its masks are coded by {header['coder']} {header['coder_version']}, installed is {CODER} "
            f"{CODER_VERSION}. Install the version of the file"
        )
    names = set()
    for site in header["sites"]:
        if not _is_site(site) or site[0] in names:
            raise InputError(f"{path}: the site {site!r:.120} is twice in the list or no [name, shape, codec, zeros]")
        names.add(site[0])
    candidates_of(path, header)
    if not all(isinstance(token, str) for token in header["tokens"]):
        raise InputError(f"{path}: its token list holds other things than texts. {ANOTHER_COPY}")


def candidates_of(path: Path, header: Mapping[str, Any]) -> Candidates | None:
    """The rule that names the weights which masks may remove. None if there is no such rule."""
    fields = header.get("candidates")
    if fields is None:
        return None
    try:
        rule = Candidates(**fields)
        whole = type(rule.share) is float and type(rule.seed) is int
    except (TypeError, ValueError):  # other keys, or values that cannot be compared
        whole = False
    if not whole:
        raise InputError(f"{path}: field candidates is {fields!r:.80}, expected share, source and seed. {ANOTHER_COPY}")
    return rule


def _is_site(site: Any) -> bool:
    if not isinstance(site, list) or len(site) != 4:
        return False
    name, shape, codec, zeros = site
    numbers = [*shape, zeros] if isinstance(shape, list) else [None]
    return isinstance(name, str) and isinstance(codec, str) and all(type(n) is int and n >= 0 for n in numbers)


def _newer(version: str, installed: str) -> bool:
    """True if a version is newer in its first two numbers, in which the coder's streams may change."""

    def numbers(text: str) -> list[int]:
        return [int(part) if part.isdecimal() else 0 for part in text.split(".")[:2]]

    return numbers(version) > numbers(installed)
