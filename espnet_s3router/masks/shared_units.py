"""Units that several matrices share, such as an inner unit: a row of one matrix and a column of the next.

A group ranks its units by the scores of all its matrices, so the same units are removed from each of them. Nothing then
reads or writes such a unit.
"""

from collections.abc import Hashable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from espnet_s3router.masks.ranking import version
from espnet_s3router.masks.select import topk_mask, zero_count


@dataclass(frozen=True, kw_only=True)
class SharedBy:
    """Where the units of a group lie in one matrix."""

    group: str
    """Name of the group, such as attention.3."""
    dim: int
    """Dimension of the units: 0 for rows, 1 for columns."""
    width: int
    """Consecutive rows or columns of each unit."""


class UnitGroup:
    """The units of several matrices. One selection serves them all."""

    def __init__(self, sparsity: float, rounding: str = "nearest") -> None:
        zero_count(1, sparsity, rounding)  # refuses bad arguments before any work
        self.sparsity = sparsity
        self.rounding = rounding
        self._members: list[SharedUnits] = []
        self._kept: Tensor | None = None
        self._key: Hashable = None

    def join(self, member: "SharedUnits") -> None:
        """Add a matrix. All must join before the first selection."""
        self._members.append(member)

    def key(self) -> Hashable:
        """A value that changes whenever the selection may have changed."""
        return self.sparsity, *(version(member.scores) for member in self._members)

    @torch.no_grad()
    def kept(self) -> Tensor:
        """Boolean (units,): the units of the largest mean score magnitude over all matrices."""
        if self._kept is None or self.key() != self._key:
            saliency = torch.stack([member.saliency() for member in self._members]).mean(0)
            self._kept, self._key = topk_mask(saliency, self.sparsity, self.rounding), self.key()
        return self._kept


class SharedUnits:
    """The selector of one matrix: keeps the units that its group keeps.

    ``width`` consecutive slices along ``dim`` belong to a unit.
    """

    scores: nn.Parameter

    def __init__(self, group: UnitGroup, dim: int, width: int) -> None:
        self.group, self.dim, self.width = group, dim, width

    @property
    def sparsity(self) -> float:
        """Fraction of the group's units that is removed."""
        return self.group.sparsity

    @sparsity.setter
    def sparsity(self, value: float) -> None:
        self.group.sparsity = value

    def join(self, scores: nn.Parameter, numel: int) -> None:
        """Take part in the group with these scores. They have size 1 in dimensions that share one."""
        self.scores = scores
        self.group.join(self)

    def saliency(self) -> Tensor:
        """Mean score magnitude of each unit (units,)."""
        others = [dim for dim in range(self.scores.dim()) if dim != self.dim]
        return self.scores.detach().abs().mean(others).view(-1, self.width).mean(1)

    def key(self, scores: Tensor) -> Hashable:
        return self.group.key()

    def select(self, scores: Tensor) -> Tensor:
        kept = self.group.kept().repeat_interleave(self.width)
        shape = [1] * scores.dim()
        shape[self.dim] = -1
        return kept.view(shape).expand(scores.shape).contiguous()
