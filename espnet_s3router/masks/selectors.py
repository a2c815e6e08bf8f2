"""Selectors: objects that remember how a mask is to be taken from scores that change from update to update.

A selector has ``sparsity`` (mutable: schedules raise it), ``select(scores) -> mask`` and ``key(scores)``, which changes
exactly when the mask may have changed. Parameters raise their version counter at every in-place update.
"""

from collections.abc import Hashable
from typing import Protocol

from torch import Tensor, nn

from espnet_s3router.masks.fast_threshold import ThresholdSearch
from espnet_s3router.masks.global_ranking import global_masks
from espnet_s3router.masks.select import nm_mask, topk_mask, unit_mask, zero_count


class Selector(Protocol):
    """What ``MaskedTensor`` asks for its mask."""

    sparsity: float

    def select(self, scores: Tensor) -> Tensor:
        """Boolean mask with the shape of ``scores``."""

    def key(self, scores: Tensor) -> Hashable:
        """Equal keys mean an equal mask."""


def version(tensor: Tensor) -> tuple[int, int]:
    """Changes with every in-place update and with a move to another storage or device."""
    return tensor._version, tensor.data_ptr()


class TopK:
    """The largest magnitudes of one tensor, an exact number of them; the search starts from the last threshold."""

    def __init__(self, sparsity: float, rounding: str = "nearest") -> None:
        zero_count(1, sparsity, rounding)  # refuses bad arguments before any work
        self.sparsity = sparsity
        self.rounding = rounding
        self._search = ThresholdSearch()

    def key(self, scores: Tensor) -> Hashable:
        return *version(scores), self.sparsity

    def select(self, scores: Tensor) -> Tensor:
        return topk_mask(scores, self.sparsity, self.rounding, self._search)


class NM:
    """``keep`` of every ``group`` neighbours along the input dimension; the sparsity follows from the pattern."""

    def __init__(self, keep: int, group: int) -> None:
        self.keep, self.group = keep, group
        self.sparsity = 1.0 - keep / group

    def key(self, scores: Tensor) -> Hashable:
        return version(scores)

    def select(self, scores: Tensor) -> Tensor:
        return nm_mask(scores, self.keep, self.group)


class Units(TopK):
    """Whole output (dim 0) or input (dim 1) units, by their mean score magnitude."""

    def __init__(self, sparsity: float, dim: int, rounding: str = "nearest") -> None:
        super().__init__(sparsity, rounding)
        self.dim = dim

    def select(self, scores: Tensor) -> Tensor:
        return unit_mask(scores, self.sparsity, self.dim, self.rounding)


class GlobalRanking:
    """One ranking over the scores of all tensors that joined; a single selection serves them all."""

    def __init__(self, sparsity: float, rounding: str = "nearest") -> None:
        zero_count(1, sparsity, rounding)
        self.sparsity = sparsity
        self.rounding = rounding
        self._members: list[nn.Parameter] = []
        self._masks: dict[str, Tensor] = {}
        self._key: Hashable = None

    def join(self, scores: nn.Parameter) -> None:
        """Let ``scores`` take part; all must join before the first selection."""
        self._members.append(scores)

    def key(self, scores: Tensor) -> Hashable:
        return self.sparsity, *(version(member) for member in self._members)

    def select(self, scores: Tensor) -> Tensor:
        if (key := self.key(scores)) != self._key:
            named = {str(index): member.detach() for index, member in enumerate(self._members)}
            self._masks = global_masks(named, self.sparsity, self.rounding)
            self._key = key
        index = next(i for i, member in enumerate(self._members) if member.data_ptr() == scores.data_ptr())
        return self._masks[str(index)]
