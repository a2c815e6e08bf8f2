"""A mask as bytes and back, exactly: the smallest of several codes for each matrix.

| codec | holds |
|---|---|
| full | nothing: no weight is removed |
| bits | one bit for each weight |
| units | one bit for each row (output unit) or column (input unit) |
| gaps | positions of the rarer value, entropy-coded |
| patterns | bytes of eight weights, entropy-coded by their frequencies; short for N:M patterns |
| buckets | positions under a prior from the magnitudes of the base weights, which decoding needs |
| candidates/CODE | any of these for the weights that may be removed; decoding needs the rule that names them |
"""

import numpy as np
import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.masks import Candidates
from espnet_s3router.masks.code_length import entropy_bytes
from espnet_s3router.routes import buckets
from espnet_s3router.routes.codes import CODES, CodedMask, Flags

PRIOR = "buckets"
PRIOR_GAIN = 0.98
"""A mask needs the base for decoding only if that shortens it by this factor."""
CANDIDATES = "candidates/"
"""Prefix of the codes of candidates alone."""
LARGEST = 2**28
"""Entries of the largest matrix that is decoded. The largest of XLS-R 2B has 15 million."""


def encode(mask: Tensor, weight: Tensor | None = None, rule: Candidates | None = None, name: str = "") -> CodedMask:
    """The shortest code of ``mask`` (boolean, True for kept weights).

    With ``weight``, the tensor of the base that the mask lies on, it may need that tensor for decoding. ``rule`` names the
    weights that may be removed. It needs the path ``name`` of the tensor.
    """
    removed = ~mask.detach().cpu().contiguous().numpy().astype(np.bool_)
    flat = removed.reshape(-1)
    codes = {codec: code(removed) for codec, (code, _) in CODES.items()}
    codec, data = min(((n, d) for n, d in codes.items() if d is not None), key=lambda item: len(item[1]))
    if weight is not None and len(prior := buckets.encode(flat, weight)) < PRIOR_GAIN * len(data):
        codec, data = PRIOR, prior
    if rule is not None and (weight is not None or rule.source == "random"):
        inner = _encode_candidates(torch.from_numpy(flat), weight, rule, name)
        if inner is not None and len(inner.data) < PRIOR_GAIN * len(data):
            codec, data = CANDIDATES + inner.codec, inner.data
    return CodedMask(tuple(mask.shape), codec, int(np.count_nonzero(flat)), data)


def decode(coded: CodedMask, weight: Tensor | None = None, rule: Candidates | None = None, name: str = "") -> Tensor:
    """The mask (boolean, True for kept weights); arguments as for ``encode``.

    Raises InputError for data that ``encode`` did not write.
    """
    if not 0 <= coded.zeros <= coded.numel <= LARGEST:
        raise InputError(f"the code has {coded.zeros} removed of {coded.numel} weights, expected at most {LARGEST} weights")
    if coded.codec.startswith(CANDIDATES):
        removed = _decode_candidates(coded, weight, rule, name)
    elif coded.codec == PRIOR:
        removed = _decode_buckets(coded, weight)
    elif coded.codec in CODES:
        removed = CODES[coded.codec][1](coded)
    else:
        raise InputError(f"the codec is {coded.codec!r}, expected one of {', '.join((*CODES, PRIOR))}")
    count = int(np.count_nonzero(removed))
    if count != coded.zeros:
        raise InputError(f"the code removes {count} weights, expected {coded.zeros}")
    return torch.from_numpy(np.logical_not(removed, out=removed).reshape(coded.shape))


def own_entropy_bytes(coded: CodedMask, rule: Candidates | None) -> float:
    """Bytes of a random mask with as many removed weights, among those that the code allows."""
    among = rule.count(coded.numel) if rule is not None and coded.codec.startswith(CANDIDATES) else coded.numel
    return entropy_bytes(coded.zeros, among)


def _encode_candidates(removed: Tensor, weight: Tensor | None, rule: Candidates, name: str) -> CodedMask | None:
    """Code of ``removed`` (entries,) for the candidates alone. None if another weight is removed."""
    positions = rule.positions(removed if weight is None else weight, name)
    among = removed[positions]
    if torch.count_nonzero(among) < torch.count_nonzero(removed):
        return None
    return encode(~among, None if weight is None else weight.flatten()[positions.to(weight.device)])


def _decode_candidates(coded: CodedMask, weight: Tensor | None, rule: Candidates | None, name: str) -> Flags:
    if rule is None:
        raise InputError("the mask is coded for some weights alone, but no rule names them")
    if rule.source != "random" or weight is not None:
        weight = _checked(weight, coded, "the mask is coded for weights that follow from the base")
    removed = torch.zeros(coded.numel, dtype=torch.bool)
    positions = rule.positions(removed if weight is None else weight, name)
    inner = CodedMask((len(positions),), coded.codec.removeprefix(CANDIDATES), coded.zeros, coded.data)
    removed[positions] = ~decode(inner, None if weight is None else weight.flatten()[positions.to(weight.device)])
    return removed.numpy()


def _decode_buckets(coded: CodedMask, weight: Tensor | None) -> Flags:
    return buckets.decode(coded.data, _checked(weight, coded, "the mask is coded under a prior from the base weights"))


def _checked(weight: Tensor | None, coded: CodedMask, why: str) -> Tensor:
    """``weight``; InputError if it is missing or has another shape than the mask."""
    if weight is None:
        raise InputError(f"{why}: give the base to decode it")
    if tuple(weight.shape) != coded.shape:
        raise InputError(f"the tensor of the base has shape {tuple(weight.shape)}, the mask {coded.shape}")
    return weight
