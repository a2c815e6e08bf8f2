"""The ``.route`` file: coded masks, head and trained tensors, tokens, configuration and metadata.

Writing reads the file back and compares it before it is put in place. Reading accepts only what was written, whole and
unchanged, by this format and coder.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.files import replacing_file
from espnet_s3router.masks import Candidates
from espnet_s3router.routes.codec import CANDIDATES, PRIOR, CodedMask, decode, encode
from espnet_s3router.routes.container import ANOTHER_COPY, pack, unpack
from espnet_s3router.routes.entropy import CODER, CODER_VERSION
from espnet_s3router.routes.header import FORMAT, candidates_of, check_header
from espnet_s3router.routes.route import Route, check_content, check_tensors, first_difference, masks_digest, part_of

MASKS = "masks/"
"""Prefix of the coded masks among the tensors of a file."""


@dataclass(frozen=True, kw_only=True)
class RouteFile:
    """A checked file whose masks are still coded."""

    path: Path
    bytes: int
    header: dict[str, Any]
    coded: dict[str, CodedMask]
    tensors: dict[str, Tensor]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each mask."""
        return {name: coded.shape for name, coded in self.coded.items()}

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part, under their names within it."""
        return part_of(self.tensors, name)

    @property
    def candidates(self) -> Candidates | None:
        """The rule that names the weights which masks may remove. None if there is no such rule."""
        return candidates_of(self.path, self.header)

    def needs_base(self) -> bool:
        """True if decoding needs the weights of the base."""
        codecs = [coded.codec for coded in self.coded.values()]
        from_weights = self.candidates is not None and self.candidates.source != "random"
        named = from_weights and any(codec.startswith(CANDIDATES) for codec in codecs)
        return named or any(codec.removeprefix(CANDIDATES) == PRIOR for codec in codecs)

    def check_base(self, fingerprint: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raises InputError unless the route belongs to a base with this fingerprint and these shapes by tensor path."""
        for name, shape in self.shapes().items():
            if name not in shapes:
                raise InputError(f"{self.path}: the route masks {name}, which the base does not have. Give its own base")
            if shape != shapes[name]:
                raise InputError(f"{self.path}: the mask of {name} has shape {shape}, expected {shapes[name]}")
        if fingerprint != self.header["base"]:
            raise InputError(
                f"{self.path}: the route belongs to another base: fingerprint {self.header['base'][:12]}…, this base has "
                f"{fingerprint[:12]}…. Give the upstream that it was trained on"
            )

    def decode(self, weights: Mapping[str, Tensor] | None = None) -> Route:
        """The route. ``weights`` are the tensors of the base by path, for masks whose code needs them."""
        masks = {}
        for name, coded in self.coded.items():
            try:
                masks[name] = decode(coded, (weights or {}).get(name), self.candidates, name)
            except InputError as error:
                raise InputError(f"{self.path}: mask of {name}: {error}") from error
        if masks_digest(masks) != self.header["masks_sha256"]:
            raise InputError(
                f"{self.path}: the decoded masks are not those that were coded. Install {CODER} "
                f"{self.header['coder_version']} (here it is {CODER_VERSION}) and give the base of the route"
            )
        fields = {name: self.header[name] for name in ("base", "tokens", "config", "metadata")}
        route = Route(masks=masks, tensors=self.tensors, candidates=self.candidates, **fields)
        check_content(route, self.path)
        return route


def write_route(
    path: str | Path,
    route: Route,
    weights: Mapping[str, Tensor] | None = None,
    check: Callable[[RouteFile], None] = lambda file: None,
) -> RouteFile:
    """Write ``route`` and return what a reader gets. An existing file is replaced, but only by a file that was read back.

    With ``weights`` (tensors of the base by path) masks may be coded with their help, if that is shorter. ``check``
    may refuse the file by an exception, before it is put in place. Raises InputError for a route that no reader accepts.
    """
    check_target(path)
    route = _plain(route)
    check_content(route, path)
    with replacing_file(path) as temporary:
        temporary.write_bytes(to_bytes(route, weights))
        read = replace(open_route(temporary), path=Path(path))
        difference = first_difference(route, read.decode(weights))
        if difference is not None:
            raise InputError(f"{path}: was not written: {difference} reads back differently. Check disk and memory")
        check(read)
    return open_route(path)


def check_target(path: str | Path) -> None:
    """Raises InputError if a folder is at the path of a file to write."""
    if Path(path).is_dir():
        raise InputError(f"{path} is a folder, expected the path of a file such as {Path(path) / 'nl.route'}")


def read_route(path: str | Path, weights: Mapping[str, Tensor] | None = None) -> Route:
    """Read and decode a file. Raises InputError that names the file and says what is wrong with it."""
    return open_route(path).decode(weights)


def to_bytes(route: Route, weights: Mapping[str, Tensor] | None = None) -> bytes:
    """The file as bytes, the same for equal routes. Errors as for ``write_route``."""
    route = _plain(route)
    rule, names = route.candidates, sorted(route.masks)
    coded = {name: encode(route.masks[name], (weights or {}).get(name), rule, name) for name in names}
    newer = rule is not None or any(tensor.dtype == torch.uint8 for tensor in route.tensors.values())
    header = {
        "format": FORMAT if newer else 1,
        "coder": CODER,
        "coder_version": CODER_VERSION,
        "base": route.base,
        "sites": [[name, list(mask.shape), mask.codec, mask.zeros] for name, mask in coded.items()],
        "masks_sha256": masks_digest(route.masks),
        "tokens": route.tokens,
        "config": route.config,
        "metadata": route.metadata,
    } | ({} if rule is None else {"candidates": asdict(rule)})
    codes = {MASKS + name: torch.from_numpy(np.array(bytearray(mask.data), np.uint8)) for name, mask in coded.items()}
    return pack(header, codes | {name: tensor.detach().cpu() for name, tensor in route.tensors.items()})


def open_route(path: str | Path) -> RouteFile:
    """Read a file and check it, without decoding its masks. Raises InputError that says what is wrong."""
    path = Path(path)
    header, tensors, size = unpack(path)
    check_header(path, header)
    coded = {}
    for name, shape, codec, zeros in header["sites"]:
        if MASKS + name not in tensors:
            raise InputError(f"{path}: the mask of {name} is missing. {ANOTHER_COPY}")
        data = tensors.pop(MASKS + name)
        if data.dtype != torch.uint8 or data.dim() != 1:
            raise InputError(f"{path}: the mask of {name} is {data.dtype} {tuple(data.shape)}, expected bytes")
        coded[name] = CodedMask(tuple(shape), codec, zeros, data.numpy().tobytes())
    extra = [name for name in tensors if name.startswith(MASKS)]
    if extra:
        raise InputError(f"{path}: holds the extra mask {extra[0]}, which its list of sites lacks. {ANOTHER_COPY}")
    check_tensors(tensors, header["tokens"], path)
    return RouteFile(path=path, bytes=size, header=header, coded=coded, tensors=tensors)


def _plain(route: Route) -> Route:
    """The route with its texts as JSON returns them, keys in order. Raises InputError if JSON cannot hold them."""
    texts = {"tokens": route.tokens, "config": route.config, "metadata": route.metadata}
    try:
        written = json.dumps(texts, sort_keys=True, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise InputError(f"configuration or metadata of the route cannot be written as JSON: {error}") from error
    return replace(route, **json.loads(written))
