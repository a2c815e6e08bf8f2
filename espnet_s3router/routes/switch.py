"""``Switch``: puts the changes of one route into the parameters of a base, and takes them back bit for bit.

A route keeps the values of the base that it replaces, not a copy of the base. So memory grows with what a route changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from espnet_s3router.routes.route import Route

Update = Callable[[Tensor], Tensor]
"""A new tensor from the tensor of the base, for example with a low-rank update added."""


@dataclass(frozen=True)
class Removed:
    """The removed weights of one tensor."""

    positions: Tensor
    """Places in the flattened tensor, int32, ascending."""
    values: Tensor
    """The weights of the base there."""

    @property
    def index(self) -> Tensor:
        """The positions in the type that torch indexes with."""
        return self.positions.long()


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a route does to the parameters of a base, by their path."""

    removed: Mapping[str, Removed] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """New values of whole tensors."""
    updates: Mapping[str, Update] = field(default_factory=dict)
    """Functions that compute new values of whole tensors."""

    def nbytes(self) -> int:
        """Bytes of all tensors here."""
        removed = (tensor for part in self.removed.values() for tensor in (part.positions, part.values))
        return sum(tensor.nbytes for tensor in (*removed, *self.tensors.values()))


def removed_weights(route: Route, parameters: Mapping[str, Tensor]) -> dict[str, Removed]:
    """``Changes.removed`` for the masks of a route, on the ``parameters`` of an unchanged base."""
    removed = {}
    for name, mask in route.masks.items():
        flat = parameters[name].detach().view(-1)
        index = (~mask).flatten().nonzero().flatten().to(flat.device)
        removed[name] = Removed(index.to(torch.int32), flat[index])
    return removed


class Switch:
    """Holds the parameters of a base; at most one route is applied at a time.

    Args:
        parameters: the tensors of the base by path. They are changed in place.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self._parameters = {name: parameter.detach() for name, parameter in parameters.items()}
        self._entries: list[tuple[Tensor, Removed]] = []
        """(flattened tensor, its removed weights)."""
        self._whole: list[tuple[Tensor, Tensor]] = []
        """(tensor, its values in the base)."""

    @property
    def applied(self) -> bool:
        """True while a route is applied."""
        return bool(self._entries or self._whole)

    def apply(self, changes: Changes) -> None:
        """Restore the base, then apply ``changes``. The base is restored, too, if that fails."""
        self.restore()
        try:
            for name, removed in changes.removed.items():
                flat = self._parameters[name].view(-1)
                self._entries.append((flat, removed))
                flat.index_fill_(0, removed.index, 0.0)
            for name, tensor in changes.tensors.items():
                self._replace(self._parameters[name], tensor)
            for name, update in changes.updates.items():
                self._replace(self._parameters[name], update(self._parameters[name]))
        except BaseException:
            self.restore()
            raise

    def restore(self) -> None:
        """Give every changed entry its value in the base."""
        for tensor, values in self._whole:
            tensor.copy_(values)
        for flat, removed in self._entries:
            flat.index_copy_(0, removed.index, removed.values)
        self._whole, self._entries = [], []

    def _replace(self, tensor: Tensor, values: Tensor) -> None:
        if values.shape != tensor.shape:
            raise ValueError(f"new values have shape {tuple(values.shape)}, the tensor {tuple(tensor.shape)}")
        self._whole.append((tensor, tensor.clone()))
        tensor.copy_(values)
