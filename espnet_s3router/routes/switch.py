"""``Switch``: puts the changes of one route into the parameters of a base, and takes them back bit for bit.

A route keeps the values of the base that it replaces, not a copy of the base. So memory grows with what a route changes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from espnet_s3router.routes.route import Route


@dataclass(frozen=True)
class Update:
    """Computes new values of a whole tensor, of its values in the base and of what the route holds."""

    compute: Callable[..., Tensor]
    """(values in the base, the parts by keyword) -> new values"""
    parts: Mapping[str, Tensor]

    def __call__(self, weight: Tensor) -> Tensor:
        """The new values."""
        return self.compute(weight, **self.parts)


CHUNK = 2**17
"""Entries of a tensor that one thread changes together. These 512 KiB stay in the cache of its core, which makes a switch
about a quarter faster. Several threads gain more by sharing a whole tensor."""


@dataclass(frozen=True)
class Removed:
    """The removed weights of one tensor."""

    positions: Tensor
    """Places in the flattened tensor, int32, ascending."""
    values: Tensor
    """The weights of the base there."""
    bounds: Sequence[int]
    """Where the positions of each chunk begin, and the number of positions."""

    @classmethod
    def of(cls, flat: Tensor, index: Tensor) -> "Removed":
        """``index``: places in the flattened tensor ``flat`` of the base, ascending."""
        starts = torch.arange(0, len(flat) + CHUNK, CHUNK, device=index.device).clamp(max=len(flat))
        return cls(index.to(torch.int32), flat[index], torch.searchsorted(index, starts).tolist())

    @property
    def index(self) -> Tensor:
        """The positions in the type that torch indexes with."""
        return self.positions.long()

    def restore(self, flat: Tensor, begin: int = 0, end: int | None = None) -> None:
        """Give the positions ``begin`` to ``end`` of the list their values in the base."""
        flat.index_copy_(0, self.positions[begin:end].long(), self.values[begin:end])

    def remove(self, flat: Tensor, begin: int = 0, end: int | None = None) -> None:
        """Set the positions ``begin`` to ``end`` of the list to zero."""
        flat.index_fill_(0, self.positions[begin:end].long(), 0.0)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a route does to the parameters of a base, by their path."""

    removed: Mapping[str, Removed] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """New values of whole tensors."""
    updates: Mapping[str, Update] = field(default_factory=dict)
    """Updates of whole tensors."""

    def nbytes(self) -> int:
        """Bytes of all tensors here."""
        removed = (tensor for part in self.removed.values() for tensor in (part.positions, part.values))
        parts = (tensor for update in self.updates.values() for tensor in update.parts.values())
        return sum(tensor.nbytes for tensor in (*removed, *self.tensors.values(), *parts))


def removed_weights(route: Route, parameters: Mapping[str, Tensor]) -> dict[str, Removed]:
    """``Changes.removed`` for the masks of a route, on the ``parameters`` of an unchanged base."""
    removed = {}
    for name, mask in route.masks.items():
        flat = parameters[name].detach().view(-1)
        removed[name] = Removed.of(flat, (~mask).flatten().nonzero().flatten().to(flat.device))
    return removed


def exchange(flat: Tensor, before: Removed | None, after: Removed | None) -> None:
    """Restore what ``before`` has removed from a tensor, and remove what ``after`` removes. One thread does it by chunks."""
    if before is None or after is None or flat.is_cuda or torch.get_num_threads() > 1:
        for removed, change in ((before, Removed.restore), (after, Removed.remove)):
            if removed is not None:
                change(removed, flat)
        return
    for old, new in zip(pairwise(before.bounds), pairwise(after.bounds), strict=True):
        before.restore(flat, *old)
        after.remove(flat, *new)


class Switch:
    """Holds the parameters of a base; at most one route is applied at a time.

    Args:
        parameters: the tensors of the base by path. They are changed in place.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self._parameters = {name: parameter.detach() for name, parameter in parameters.items()}
        self._removed: dict[str, list[Removed]] = {}
        """What is removed from each tensor. While a switch goes on, the old and the new route are both in the list."""
        self._whole: list[tuple[Tensor, Tensor]] = []
        """(tensor, its values in the base)."""

    @property
    def applied(self) -> bool:
        """True while a route is applied."""
        return bool(self._removed or self._whole)

    def apply(self, changes: Changes) -> None:
        """Restore the base and apply ``changes``. If that fails, the base is restored."""
        self._restore_whole()
        before = {name: removed for name, (removed,) in self._removed.items()}
        try:
            for name, removed in changes.removed.items():
                flat = self._parameters[name].view(-1)
                self._removed.setdefault(name, []).append(removed)
                exchange(flat, before.pop(name, None), removed)
            for name, removed in before.items():
                removed.restore(self._parameters[name].view(-1))
            self._removed = {name: [removed] for name, removed in changes.removed.items()}
            for name, tensor in changes.tensors.items():
                self._replace(self._parameters[name], tensor)
            for name, update in changes.updates.items():
                self._replace(self._parameters[name], update(self._parameters[name]))
        except BaseException:
            self.restore()
            raise

    def restore(self) -> None:
        """Give every changed entry its value in the base."""
        self._restore_whole()
        for name, lists in self._removed.items():
            for removed in lists:
                removed.restore(self._parameters[name].view(-1))
        self._removed = {}

    def _restore_whole(self) -> None:
        for tensor, values in self._whole:
            tensor.copy_(values)
        self._whole = []

    def _replace(self, tensor: Tensor, values: Tensor) -> None:
        if values.shape != tensor.shape:
            raise ValueError(f"new values have shape {tuple(values.shape)}, the tensor {tuple(tensor.shape)}")
        self._whole.append((tensor, tensor.clone()))
        tensor.copy_(values)
