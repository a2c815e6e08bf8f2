"""``Route``: what one language or task adds to the shared weights, in memory, with the checks of its content."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.masks import Candidates

PARTS = ("head", "featurizer", "upstream")
"""First words of tensor names: the model beside its frontend, the weights over layers, and the upstream."""
OUTPUT = ("head/ctc.ctc_lo.weight", "head/ctc.ctc_lo.bias")
"""The output layer of ESPnet's CTC head. It has one row for each token."""
TENSOR_TYPES = (torch.float32, torch.float16, torch.int64, torch.uint8)


class EmptyRoute(InputError):
    """The route changes nothing: its method left the upstream as it was."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """What one language or task adds to a base. All names are relative to the upstream, the s3prl expert."""

    base: str
    """Fingerprint of the base: SHA-256 over its parameters, 64 hexadecimal digits."""
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    """Boolean masks by the path of their tensor, True for kept weights."""
    candidates: Candidates | None = None
    """The rule that names the weights which the masks may remove. None if all may be removed."""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """All other trained tensors, as ``PART/NAME`` with a part of PARTS."""
    tokens: list[str] = field(default_factory=list)
    """The token list of the head."""
    config: dict[str, Any] = field(default_factory=dict)
    """ESPnet's configuration of the model and of decoding, with frontend and method."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """language, task, corpus, metrics, seed, licence, training command and the like."""

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part, under their names within it."""
        return part_of(self.tensors, name)

    def removed(self) -> int:
        """Number of removed weights."""
        return sum(mask.numel() - int(torch.count_nonzero(mask)) for mask in self.masks.values())


def part_of(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one part of PARTS, under their names within it."""
    return {key.removeprefix(f"{name}/"): t for key, t in tensors.items() if key.startswith(f"{name}/")}


def check_content(route: Route, where: object) -> None:
    """Raises InputError that names ``where`` for content that no model can use."""
    if not re.fullmatch("[0-9a-f]{64}", route.base):
        raise InputError(f"{where}: the fingerprint of the base is {route.base!r}, expected 64 hexadecimal digits")
    check_tensors(route.tensors, route.tokens, where)
    if not route.tensors and not route.removed():
        raise EmptyRoute(f"{where}: the route is empty: it removes no weight and holds no tensor, so it changes nothing")


def check_tensors(tensors: Mapping[str, Tensor], tokens: list[str], where: object) -> None:
    """Raises InputError for a tensor with a wrong name, type or value, and for a head that does not fit the tokens."""
    for name, tensor in tensors.items():
        if name.partition("/")[0] not in PARTS or tensor.dtype not in TENSOR_TYPES:
            raise InputError(f"{where}: tensor {name} of type {tensor.dtype} belongs to no part; parts: {', '.join(PARTS)}")
        if not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            raise InputError(
                f"{where}: {bad} of {tensor.numel()} values of {name} are NaN or infinite, expected finite values. "
                "Write the route from a checkpoint of a run that did not diverge"
            )
    for name in OUTPUT:
        if name in tensors and (tensors[name].dim() == 0 or len(tensors[name]) != len(tokens)):
            raise InputError(
                f"{where}: the token list has {len(tokens)} tokens, but {name} has shape {tuple(tensors[name].shape)}. "
                "Expected one row for each token: use the token list that the head was trained with"
            )
    if tokens and not any(name.startswith("head/") for name in tensors):
        raise InputError(f"{where}: there are {len(tokens)} tokens but no head. Expected both or neither")


def masks_digest(masks: Mapping[str, Tensor]) -> str:
    """SHA-256 over masks and their names, in hexadecimal digits. It shows that decoded masks are those that were coded."""
    sha = hashlib.sha256()
    for name in sorted(masks):
        sha.update(f"{name} {tuple(masks[name].shape)} ".encode())
        sha.update(np.packbits(masks[name].cpu().numpy()).tobytes())
    return sha.hexdigest()


def first_difference(route: Route, other: Route) -> str | None:
    """Name of the first part in which two routes differ, None for equal routes."""
    for name in ("base", "candidates", "tokens", "config", "metadata"):
        if getattr(route, name) != getattr(other, name):
            return name
    for mine, theirs in ((route.masks, other.masks), (route.tensors, other.tensors)):
        if mine.keys() != theirs.keys():
            return ", ".join(sorted(mine.keys() ^ theirs.keys()))
        for name, tensor in mine.items():
            if tensor.dtype != theirs[name].dtype or not torch.equal(tensor.cpu(), theirs[name]):
                return name
    return None
