"""``Switch``: puts the changes of one route into the parameters of a base, and takes them back bit for bit.

It keeps the values that a route replaces, not a copy of the base. So memory grows with what a route changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from espnet_s3router.routes.route import Route

Update = Callable[[Tensor], Tensor]
"""A new tensor from the tensor of the base, for example with a low-rank update added."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a route does to the parameters of a base, by their path."""

    removed: Mapping[str, Tensor] = field(default_factory=dict)
    """Positions of removed weights in the flattened tensor, int32, ascending."""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """New values of whole tensors."""
    updates: Mapping[str, Update] = field(default_factory=dict)
    """Functions that compute new values of whole tensors."""

    def nbytes(self) -> int:
        """Bytes of all tensors here."""
        return sum(tensor.nbytes for tensor in (*self.removed.values(), *self.tensors.values()))


def removed_positions(route: Route) -> dict[str, Tensor]:
    """Positions for ``Changes.removed`` from the masks of a route."""
    return {name: (~mask).flatten().nonzero().flatten().to(torch.int32) for name, mask in route.masks.items()}


class Switch:
    """Holds the parameters of a base; at most one route is applied at a time.

    Args:
        parameters: the tensors of the base by path. They are changed in place.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self._parameters = {name: parameter.detach() for name, parameter in parameters.items()}
        self._entries: list[tuple[Tensor, Tensor, Tensor]] = []
        """(flattened tensor, positions, the values of the base there)."""
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
            for name, positions in changes.removed.items():
                self._remove(self._parameters[name].view(-1), positions)
            for name, tensor in changes.tensors.items():
                self._replace(self._parameters[name], tensor)
            for name, update in changes.updates.items():
                self._replace(self._parameters[name], update(self._parameters[name]))
        except BaseException:
            self.restore()
            raise

    def restore(self) -> None:
        """Give every changed entry its value in the base."""
        for tensor, values in reversed(self._whole):
            tensor.copy_(values)
        for flat, positions, values in reversed(self._entries):
            flat[positions] = values
        self._whole, self._entries = [], []

    def _remove(self, flat: Tensor, positions: Tensor) -> None:
        index = positions.to(flat.device, torch.int64)  # torch converts int32 at each use
        self._entries.append((flat, index, flat[index]))
        flat.index_fill_(0, index, 0.0)

    def _replace(self, tensor: Tensor, values: Tensor) -> None:
        if values.shape != tensor.shape:
            raise ValueError(f"new values have shape {tuple(values.shape)}, the tensor {tuple(tensor.shape)}")
        self._whole.append((tensor, tensor.clone()))
        tensor.copy_(values)
