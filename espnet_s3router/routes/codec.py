"""A mask as bytes and back, exactly: the smallest of several codes for each matrix.

| codec | holds |
|---|---|
| full | nothing: no weight is removed |
| bits | one bit for each weight |
| units | one bit for each row (output unit) or column (input unit) |
| gaps | positions of the rarer value, entropy-coded |
| patterns | bytes of eight weights, entropy-coded by their frequencies; short for N:M patterns |
| buckets | positions under a prior from the magnitudes of the base weights, which decoding needs |
"""

import math

import numpy as np
import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.routes import buckets
from espnet_s3router.routes.codes import CODES, CodedMask, Flags

PRIOR = "buckets"
PRIOR_GAIN = 0.98
"""A mask needs the base for decoding only if that shortens it by this factor."""
LARGEST = 2**28
"""Entries of the largest matrix that is decoded. The largest of XLS-R 2B has 15 million."""


def encode(mask: Tensor, weight: Tensor | None = None) -> CodedMask:
    """The shortest code of ``mask`` (boolean, True for kept weights).

    With ``weight``, the tensor of the base that the mask lies on, it may need that tensor for decoding.
    """
    removed = ~mask.detach().cpu().contiguous().numpy().astype(np.bool_)
    flat = removed.reshape(-1)
    codes = {name: code(removed) for name, (code, _) in CODES.items()}
    name, data = min(((n, d) for n, d in codes.items() if d is not None), key=lambda item: len(item[1]))
    if weight is not None and len(prior := buckets.encode(flat, weight)) < PRIOR_GAIN * len(data):
        name, data = PRIOR, prior
    return CodedMask(tuple(mask.shape), name, int(np.count_nonzero(flat)), data)


def decode(coded: CodedMask, weight: Tensor | None = None) -> Tensor:
    """The mask (boolean, True for kept weights). Raises InputError for data that ``encode`` did not write."""
    if not 0 <= coded.zeros <= coded.numel <= LARGEST:
        raise InputError(f"the code has {coded.zeros} removed of {coded.numel} weights, expected at most {LARGEST} weights")
    if coded.codec == PRIOR:
        removed = _decode_buckets(coded, weight)
    elif coded.codec in CODES:
        removed = CODES[coded.codec][1](coded)
    else:
        raise InputError(f"the codec is {coded.codec!r}, expected one of {', '.join((*CODES, PRIOR))}")
    count = int(np.count_nonzero(removed))
    if count != coded.zeros:
        raise InputError(f"the code removes {count} weights, expected {coded.zeros}")
    return torch.from_numpy(np.logical_not(removed, out=removed).reshape(coded.shape))


def entropy_bytes(zeros: int, numel: int) -> float:
    """Bytes of a random mask with this number of zeros: numel * H(zeros / numel) / 8."""
    shares = [share for share in (zeros / max(numel, 1), 1.0 - zeros / max(numel, 1)) if share > 0.0]
    return -numel * sum(share * math.log2(share) for share in shares) / 8.0


def _decode_buckets(coded: CodedMask, weight: Tensor | None) -> Flags:
    if weight is None:
        raise InputError("the mask is coded under a prior from the base weights: give the base to decode it")
    if tuple(weight.shape) != coded.shape:
        raise InputError(f"the tensor of the base has shape {tuple(weight.shape)}, the mask {coded.shape}")
    return buckets.decode(coded.data, weight)
