"""Candidates: the entries of a tensor that a mask may remove. All others are kept, and have no score.

The set follows from the weights of the base or from a seed, so neither checkpoints nor route files hold it. Scores,
gradients, the state of the optimiser and selection are as small as the set.
"""

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from espnet_s3router.masks.fast_threshold import fast_global_masks
from espnet_s3router.masks.inject import MaskedTensor
from espnet_s3router.masks.ranking import Selector
from espnet_s3router.masks.select import topk_mask, zero_count

SOURCES = ("magnitude", "largest", "random")
_GOLDEN, _FIRST, _SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15
"""The constants of SplitMix64 as signed numbers."""
_BLOCK = 2**15
"""Keys that are computed at a time, so that they stay in the processor's cache."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The rule that names the candidates of every tensor."""

    share: float
    """Share of the entries of a tensor that may be removed, in (0, 1)."""
    source: str = "magnitude"
    """magnitude: the entries of the smallest magnitudes. largest: those of the largest. random: entries that follow from
    ``seed`` and the tensor's name."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise ValueError(f"the share of candidates is {self.share!r}, expected a fraction in (0, 1), for example 0.25")
        if self.source not in SOURCES:
            raise ValueError(f"the source of candidates is {self.source!r}, expected one of {', '.join(SOURCES)}")

    def count(self, numel: int) -> int:
        """Number of candidates among ``numel`` entries."""
        return zero_count(numel, self.share)

    def positions(self, weight: Tensor, name: str) -> Tensor:
        """Ascending flat indices (candidates,) of the candidates, int64 on the CPU; the same on every machine.

        ``weight`` is the tensor of the base at the path ``name``. Of equal magnitudes the lower index goes first.
        """
        if self.source == "random":
            return random_positions(weight.numel(), self.count(weight.numel()), f"{self.seed} {name}")
        magnitude = weight.detach().to("cpu", torch.float32).abs()
        if self.source == "largest":
            others = topk_mask(-magnitude, self.share, signed=True)
        else:
            others = fast_global_masks({name: magnitude}, self.share)[name]
        return (~others).flatten().nonzero().flatten()


def random_positions(numel: int, count: int, text: str) -> Tensor:
    """``count`` ascending positions below ``numel``, those of the smallest keys. All keys differ, so there are no ties."""
    keys = random_keys(numel, text)
    if not count:
        return keys[:0]
    # The keys are evenly spread, so the count-th lies within a few standard deviations of its expected value.
    share, spread = count / numel, 6.0 * math.sqrt(count * (numel - count)) / numel**1.5
    low, high = (round((min(max(end, 0.0), 1.0) - 0.5) * (2**64 - 2**12)) for end in (share - spread, share + spread))
    inside = keys[(keys > low) & (keys <= high)]
    rank = count - int(torch.count_nonzero(keys <= low))
    threshold = inside.kthvalue(rank).values if 0 < rank <= len(inside) else keys.kthvalue(count).values
    return (keys <= threshold).nonzero().flatten()


def random_keys(count: int, text: str) -> Tensor:
    """``count`` different 64-bit numbers from a text, by SplitMix64 (Steele, Lea and Flood 2014).

    Its integer arithmetic never changes. A set from torch's own generator would differ between versions of torch.
    """
    start = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little", signed=True)
    keys, scratch = torch.empty(count, dtype=torch.int64), torch.empty(_BLOCK, dtype=torch.int64)
    steps = torch.arange(1, _BLOCK + 1, dtype=torch.int64).mul_(_GOLDEN)
    for first, block in zip(range(0, count, _BLOCK), keys.split(_BLOCK)):
        shifted = scratch[: len(block)]
        torch.add(steps[: len(block)], (start + first * _GOLDEN + 2**63) % 2**64 - 2**63, out=block)
        for bits, factor in ((30, _FIRST), (27, _SECOND), (31, 1)):
            torch.bitwise_right_shift(block, bits, out=shifted)
            shifted.bitwise_and_((1 << (64 - bits)) - 1)  # the shift of a signed number repeats its sign
            block.bitwise_xor_(shifted).mul_(factor)
    return keys


class CandidateTensor(MaskedTensor):
    """weight -> weight * mask, where only the entries at ``positions`` have a score: ``scores`` (candidates,).

    ``scores`` are those of all entries, in the shape of the weight, from which the candidates' are taken. ``positions`` are
    ascending flat indices. ``options`` are those of ``MaskedTensor``.
    """

    def __init__(self, scores: Tensor, selector: Selector, positions: Tensor, **options: bool | str) -> None:
        super().__init__(scores.flatten()[positions], selector, shape=scores.shape, **options)  # type: ignore[arg-type]
        # Gaps of two bytes take a quarter of the memory of indices. They are no buffer, as DistributedDataParallel would
        # send it before every forward pass.
        gaps = positions.diff(prepend=positions.new_zeros(1))
        self.gaps = gaps.to(torch.int16 if len(gaps) == 0 or int(gaps.max()) < 2**15 else torch.int32)
        """Distances between neighbouring candidates (candidates,), the first from 0."""

    @property
    def choices(self) -> int:
        return self.scores.numel()

    def positions(self) -> Tensor:
        """Ascending flat indices (candidates,), int64 on the device of the scores."""
        self.gaps = self.gaps.to(self.scores.device)
        return self.gaps.cumsum(0, dtype=torch.int64)

    def load_scores(self, scores: Tensor) -> None:
        self.scores.copy_(scores.flatten()[self.positions().to(scores.device)])

    def _select(self) -> Tensor:
        mask = torch.ones(self.shape, dtype=torch.bool, device=self.scores.device)
        mask.view(-1).scatter_(0, self.positions(), self.selector.select(self.scores.detach()))
        return mask
