"""Ranking: among which weights a sparsity removes the smallest. This file alone knows the choices.

``matrix`` ranks within each tensor, ``global`` over all tensors. ``output_units`` and ``input_units`` rank whole rows and
columns, N:M (such as 2:4) the weights within each group of M inputs. ``units`` ranks units that several matrices share
(``shared_units``). Selectors serve masks with scores; ``Ranking``
serves pruning, which has no scores.
"""

import re
from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import Protocol

from torch import Tensor, nn

from espnet_s3router.masks.fast_threshold import ThresholdSearch, fast_global_masks, fast_topk_mask
from espnet_s3router.masks.select import nm_mask, topk_mask, unit_mask, zero_count

UNITS = ("output_units", "input_units")
"""Choices that rank whole units. The index is the dimension of the units."""
SHARED = "units"
"""The choice that ranks units which several matrices share."""
WHOLE_UNITS = (*UNITS, SHARED)
RANKINGS = ("matrix", "global", *WHOLE_UNITS)
"""All choices except the N:M patterns."""


def n_of_m(ranking: object) -> tuple[int, int] | None:
    """(N, M) of a ranking such as 2:4, else None."""
    match = re.fullmatch(r"(\d+):(\d+)", str(ranking))
    if match is None or not 0 < int(match[1]) <= int(match[2]):
        return None
    return int(match[1]), int(match[2])


class Selector(Protocol):
    """Takes masks from scores that change from one optimiser step to the next."""

    sparsity: float
    """Fraction removed, in [0, 1). Schedules change it during training."""

    def select(self, scores: Tensor) -> Tensor:
        """Boolean mask with the shape of ``scores``."""

    def key(self, scores: Tensor) -> Hashable:
        """A value that changes whenever the mask may have changed."""


def make_selector(
    ranking: str, sparsity: float, rounding: str, *, signed: bool = False, numel: int | None = None
) -> Selector:
    """The selector of one tensor. With ``global``, one selector serves all tensors. ``signed`` needs ``matrix``.

    ``numel`` is the number of entries of the tensor, which the sparsity is a fraction of. It is needed with ``matrix`` if
    some entries have no score.
    """
    if (pattern := n_of_m(ranking)) is not None:
        return NM(*pattern)
    if ranking == "global":
        return GlobalRanking(sparsity, rounding)
    if ranking == "matrix":
        return (SignedTopK if signed else TopK)(sparsity, rounding, numel)
    return Units(sparsity, UNITS.index(ranking), rounding)


def version(tensor: Tensor) -> tuple[int, int]:
    """Changes with every in-place update, which raises torch's version counter, and with a move to other memory."""
    return tensor._version, tensor.data_ptr()


class TopK:
    """Keeps the largest magnitudes of one tensor. The search starts from the last threshold."""

    def __init__(self, sparsity: float, rounding: str = "nearest", numel: int | None = None) -> None:
        zero_count(1, sparsity, rounding)  # refuses bad arguments before any work
        self.sparsity = sparsity
        self.rounding = rounding
        self.numel = numel
        """Entries that the sparsity is a fraction of. None: those that have a score."""
        self._search = ThresholdSearch()

    def key(self, scores: Tensor) -> Hashable:
        return *version(scores), self.sparsity

    def select(self, scores: Tensor) -> Tensor:
        return fast_topk_mask(scores, self.sparsity, self.rounding, self._search, self.numel)


class SignedTopK(TopK):
    """Keeps the largest scores of one tensor, signs included (movement pruning, arXiv 2005.07683 sec. 3)."""

    def select(self, scores: Tensor) -> Tensor:
        return topk_mask(scores, self.sparsity, self.rounding, signed=True, numel=self.numel)


class NM:
    """Keeps ``keep`` of every ``group`` neighbours along the input dimension. The pattern fixes the sparsity."""

    def __init__(self, keep: int, group: int) -> None:
        self.keep, self.group = keep, group
        self.sparsity = 1.0 - keep / group

    def key(self, scores: Tensor) -> Hashable:
        return version(scores)

    def select(self, scores: Tensor) -> Tensor:
        return nm_mask(scores, self.keep, self.group)


class Units(TopK):
    """Keeps whole output (dim 0) or input (dim 1) units, by their mean score magnitude."""

    def __init__(self, sparsity: float, dim: int, rounding: str = "nearest") -> None:
        super().__init__(sparsity, rounding)
        self.dim = dim

    def select(self, scores: Tensor) -> Tensor:
        return unit_mask(scores, self.sparsity, self.dim, self.rounding)


class GlobalRanking:
    """One ranking over the scores of all tensors that joined. A single selection serves them all."""

    def __init__(self, sparsity: float, rounding: str = "nearest") -> None:
        zero_count(1, sparsity, rounding)
        self.sparsity = sparsity
        self.rounding = rounding
        self._members: list[nn.Parameter] = []
        self._numel = 0
        self._masks: dict[str, Tensor] = {}
        self._key: Hashable = None

    def join(self, scores: nn.Parameter, numel: int) -> None:
        """Add the ``scores`` of a tensor with ``numel`` entries; all must join before the first selection."""
        self._members.append(scores)
        self._numel += numel

    def key(self, scores: Tensor) -> Hashable:
        return self.sparsity, *(version(member) for member in self._members)

    def select(self, scores: Tensor) -> Tensor:
        if (key := self.key(scores)) != self._key:
            named = {str(member.data_ptr()): member.detach() for member in self._members}
            self._masks = fast_global_masks(named, self.sparsity, self.rounding, self._numel)
            self._key = key
        return self._masks[str(scores.data_ptr())]


class Ranking:
    """Exact masks for a set of tensors from the magnitudes of their saliencies."""

    def __init__(self, kind: str, rounding: str = "nearest") -> None:
        self.kind = kind
        """matrix, global, or N:M."""
        self.rounding = rounding
        self._searches: dict[str, ThresholdSearch] = defaultdict(ThresholdSearch)

    def masks(self, saliency: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
        """Boolean masks with the names and shapes of ``saliency``, False on removed entries.

        An N:M ranking ignores ``sparsity``, as the pattern fixes it. ValueError for saliencies that are not finite.
        """
        if (pattern := n_of_m(self.kind)) is not None:
            return {name: nm_mask(values, *pattern) for name, values in saliency.items()}
        if self.kind == "global":
            return fast_global_masks(saliency, sparsity, self.rounding)
        searches = self._searches
        return {name: fast_topk_mask(v, sparsity, self.rounding, searches[name]) for name, v in saliency.items()}

    def zeros(self, sizes: Mapping[str, int], sparsity: float) -> int:
        """Number of entries that ``masks`` removes in total. ``sizes`` holds the number of entries of each tensor."""
        if (pattern := n_of_m(self.kind)) is not None:
            return sum(size - size * pattern[0] // pattern[1] for size in sizes.values())
        ranked = [sum(sizes.values())] if self.kind == "global" else sizes.values()
        return sum(zero_count(size, sparsity, self.rounding) for size in ranked)
