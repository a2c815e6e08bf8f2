"""Candidates: the entries of a tensor that a mask may remove. All others are kept, and have no score.

The set follows from the weights of the base or from a seed, so neither checkpoints nor route files hold it. Scores,
gradients, the state of the optimiser and selection are as small as the set.
"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from espnet_s3router.masks.inject import MaskedTensor
from espnet_s3router.masks.ranking import Selector
from espnet_s3router.masks.select import topk_mask, zero_count

SOURCES = ("magnitude", "random")
_GOLDEN, _FIRST, _SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15
"""The constants of SplitMix64 as signed numbers."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The rule that names the candidates of every tensor."""

    share: float
    """Share of the entries of a tensor that may be removed, in (0, 1)."""
    source: str = "magnitude"
    """magnitude: the entries of the smallest magnitudes. random: entries that follow from ``seed`` and the tensor's name."""
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
        if self.source == "magnitude":
            others = topk_mask(weight.detach().to("cpu", torch.float32), self.share)
            return (~others).flatten().nonzero().flatten()
        keys = random_keys(weight.numel(), f"{self.seed} {name}")
        count = self.count(len(keys))
        # All keys differ, so exactly ``count`` of them are at most the count-th smallest.
        return (keys <= keys.kthvalue(count).values).nonzero().flatten() if count else keys[:0]


def random_keys(count: int, text: str) -> Tensor:
    """``count`` different 64-bit numbers from a text, by SplitMix64 (Steele, Lea and Flood 2014).

    Its integer arithmetic never changes. A set from torch's own generator would differ between versions of torch.
    """
    start = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little", signed=True)
    keys = torch.arange(1, count + 1, dtype=torch.int64) * _GOLDEN + start
    keys = (keys ^ _shifted(keys, 30)) * _FIRST
    keys = (keys ^ _shifted(keys, 27)) * _SECOND
    return keys ^ _shifted(keys, 31)


def _shifted(keys: Tensor, bits: int) -> Tensor:
    """Keys shifted to the right as unsigned numbers."""
    return (keys >> bits) & ((1 << (64 - bits)) - 1)


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
        mask.view(-1)[self.positions()] = self.selector.select(self.scores.detach())
        return mask
