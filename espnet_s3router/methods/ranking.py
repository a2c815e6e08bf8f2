"""Which weights a sparsity removes: those of the smallest saliency in each tensor, over all tensors, or in N:M groups."""

from collections import defaultdict
from collections.abc import Mapping

from torch import Tensor

from espnet_s3router.masks import global_masks, nm_mask, topk_mask, zero_count
from espnet_s3router.masks.fast_threshold import ThresholdSearch
from espnet_s3router.methods.options import n_of_m


class Ranking:
    """Exact masks from saliency scores, of which the magnitude counts."""

    def __init__(self, kind: str, rounding: str = "nearest") -> None:
        self.kind = kind
        """matrix, global, or N:M."""
        self.rounding = rounding
        self._searches: dict[str, ThresholdSearch] = defaultdict(ThresholdSearch)

    def masks(self, saliency: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
        """Boolean masks with the names and shapes of ``saliency``, False on what is removed. An N:M ranking has its own
        sparsity. ValueError for scores that are not finite."""
        if (pattern := n_of_m(self.kind)) is not None:
            return {name: nm_mask(scores, *pattern) for name, scores in saliency.items()}
        if self.kind == "global":
            return global_masks(saliency, sparsity, self.rounding)
        return {name: topk_mask(scores, sparsity, self.rounding, self._searches[name]) for name, scores in saliency.items()}

    def zeros(self, sizes: Mapping[str, int], sparsity: float) -> int:
        """How many entries ``masks`` removes from tensors with so many entries, all together."""
        if (pattern := n_of_m(self.kind)) is not None:
            return sum(size - size * pattern[0] // pattern[1] for size in sizes.values())
        counted = [sum(sizes.values())] if self.kind == "global" else sizes.values()
        return sum(zero_count(size, sparsity, self.rounding) for size in counted)
