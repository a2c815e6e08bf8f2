"""The container of a route: a safetensors file whose metadata is one JSON object, with a checksum over every byte."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from espnet_s3router.errors import InputError, summary

KEY = "s3router_route"
"""Key of our JSON object in the metadata. There is only one key, because safetensors writes several in random order."""
CHECKSUM = "checksum"
"""Key of the SHA-256 of the file in that object. While it is computed, zeros stand in its place. Every format has it."""
_BLANK = "0" * 64
ANOTHER_COPY = "Get another copy of the file, or write it again with s3router route write"


def pack(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """The file of ``header`` (as JSON) and ``tensors``. Equal arguments in equal order give equal bytes."""
    text = json.dumps({CHECKSUM: _BLANK, **header}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    content = safetensors.torch.save({name: tensors[name].contiguous() for name in sorted(tensors)}, {KEY: text})
    return content.replace(_BLANK.encode(), hashlib.sha256(content).hexdigest().encode(), 1)


def unpack(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], int]:
    """(header, tensors, bytes) of a file. Raises InputError that names the file for whatever ``pack`` did not write."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}. Give the path of a .route file") from error
    header = _header(path, content)
    digest = header.get(CHECKSUM)
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise InputError(f"{path}: is no route file: it holds no checksum. {ANOTHER_COPY}")
    actual = hashlib.sha256(content.replace(digest.encode(), _BLANK.encode(), 1)).hexdigest()
    if actual != digest:
        raise InputError(f"{path}: is damaged: its checksum is {actual[:12]}…, expected {digest[:12]}…. {ANOTHER_COPY}")
    try:
        return header, dict(sorted(safetensors.torch.load(content).items())), len(content)
    except Exception as error:  # safetensors and torch raise several types on foreign content
        raise InputError(f"{path}: its tensors cannot be read: {summary(error)}. {ANOTHER_COPY}") from error


def _header(path: Path, content: bytes) -> dict[str, Any]:
    """Our JSON object; InputError for a file of another kind or length."""
    start = 8 + int.from_bytes(content[:8], "little")
    if len(content) < 8 or start > len(content):
        raise InputError(
            f"{path}: is truncated or no route file: it has {len(content)} bytes, too few for its header. {ANOTHER_COPY}"
        )
    try:
        outer = json.loads(content[8:start])
        ends = [entry["data_offsets"][1] for name, entry in outer.items() if name != "__metadata__"]
        expected = start + max(ends, default=0)
        text = outer.get("__metadata__", {}).get(KEY)
        header = json.loads(text) if text is not None else None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: is damaged or no route file: its header is unreadable. {ANOTHER_COPY}") from error
    if len(content) != expected:
        raise InputError(
            f"{path}: is truncated or has extra bytes: {len(content)} bytes, expected {expected}. {ANOTHER_COPY}"
        )
    if not isinstance(header, dict):
        raise InputError(f"{path}: is a safetensors file but no route: its metadata lack {KEY}. Give a .route file")
    return header
