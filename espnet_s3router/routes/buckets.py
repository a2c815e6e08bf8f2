"""Coding under a prior: entries with weights of similar magnitude share one removal rate.

A mask that stays near the magnitude mask removes many of the smallest weights and few others. Whoever has the base weights
knows the ranks of their magnitudes, so only the rates and the deviations need bytes.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espnet_s3router.routes.entropy import Decoder, Encoder, put_counts, take_counts

BUCKETS = 256
_LOW_BITS = 15
"""Low bits of a float32 that the rank ignores: the exponent and eight bits of the fraction remain."""


def encode(removed: NDArray[np.bool_], weight: Tensor) -> bytes:
    """Code of ``removed`` (entries,) under the magnitudes of ``weight`` (any shape, as many entries)."""
    order, sizes = magnitude_buckets(weight)
    sorted_flags = removed[order]
    ends = np.cumsum(sizes)
    counts = np.diff(np.concatenate([[0], np.cumsum(sorted_flags, dtype=np.int64)])[np.concatenate([[0], ends])])
    coder = Encoder()
    for end, size, count in zip(ends.tolist(), sizes.tolist(), counts.tolist()):
        if 0 < count < size:
            coder.add_positions(np.flatnonzero(sorted_flags[end - size : end]), size)
    return put_counts(counts) + coder.code()


def decode(data: bytes, weight: Tensor) -> NDArray[np.bool_]:
    """The flags (entries,) that ``encode`` coded with the same weight. Raises InputError for other data."""
    order, sizes = magnitude_buckets(weight)
    counts, code = take_counts(data, BUCKETS)
    coder = Decoder(code)
    ends = np.cumsum(sizes)
    parts = [
        coder.positions(count, size) + (end - size)
        for end, size, count in zip(ends.tolist(), sizes.tolist(), counts.tolist())
    ]
    coder.finish()
    removed = np.zeros(weight.numel(), dtype=np.bool_)
    removed[order[np.concatenate(parts)]] = True
    return removed


def magnitude_buckets(weight: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(order of the entries by bucket, size of each bucket), both exact on every machine.

    Buckets go from the smallest magnitudes to the largest and have similar sizes. Entries of one bucket stay in their order.
    """
    values = weight.detach().cpu().to(torch.float32).contiguous().view(-1).numpy()
    rank_code = (values.view(np.int32) & 0x7FFFFFFF) >> _LOW_BITS  # (entries,) grows with the magnitude
    below = np.cumsum(np.bincount(rank_code, minlength=1 << (31 - _LOW_BITS)))
    middle = np.concatenate([[0], below[:-1]])
    bucket = (middle * BUCKETS // max(len(values), 1)).astype(np.uint8)[rank_code]
    return np.argsort(bucket, kind="stable"), np.bincount(bucket, minlength=BUCKETS)
