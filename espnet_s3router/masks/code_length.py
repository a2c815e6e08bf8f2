"""How many bytes a mask needs, and the sparsity that fits a number of bytes.

A mask without structure needs its entropy: k * H(z / k) bits for z removed entries among k candidates. The route file comes
within a percent of it.
"""

import math
from collections.abc import Sequence

from espnet_s3router.masks.select import zero_count


def entropy_bytes(zeros: int, numel: int) -> float:
    """Bytes of a random mask with this number of zeros: numel * H(zeros / numel) / 8."""
    shares = [share for share in (zeros / max(numel, 1), 1.0 - zeros / max(numel, 1)) if share > 0.0]
    return -numel * sum(share * math.log2(share) for share in shares) / 8.0


def masks_bytes(sparsity: float, sizes: Sequence[tuple[int, int]], rounding: str = "nearest") -> float:
    """Bytes of masks at one sparsity. ``sizes``: (entries, candidates) of each tensor."""
    return sum(entropy_bytes(zero_count(numel, sparsity, rounding), choices) for numel, choices in sizes)


def sparsity_for_bytes(target: int, sizes: Sequence[tuple[int, int]], rounding: str = "nearest") -> float:
    """The sparsity, common to all tensors, whose masks need ``target`` bytes; ``sizes`` as for ``masks_bytes``.

    Below half of the candidates, a higher sparsity needs more bytes. The result lies there. ValueError if no sparsity needs
    so many bytes, or if one removed entry needs more.
    """
    low, high = 0.0, 0.5 * min(choices / numel for numel, choices in sizes)
    most = masks_bytes(high, sizes, rounding)
    if target > most:
        raise ValueError(f"the masks hold at most {math.floor(most)} bytes, at sparsity {high:g}")
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (low, middle) if masks_bytes(middle, sizes, rounding) > target else (middle, high)
    if not any(zero_count(numel, low, rounding) for numel, _ in sizes):
        raise ValueError(f"no weight could be removed, expected at least {math.ceil(masks_bytes(high, sizes, rounding))}")
    return low
