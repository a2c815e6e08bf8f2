"""The codes of one mask that need no base weights, each as a pair of functions.

Encoding takes the flags of removed weights in the shape of the mask, and returns None if the code cannot hold them.
Decoding returns flat flags, or raises InputError for data that encoding did not write.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espnet_s3router.errors import InputError
from espnet_s3router.routes.entropy import Decoder, Encoder, put_counts, take_counts

Flags = NDArray[np.bool_]
_PATTERNS = 256
"""Patterns of eight weights."""


@dataclass(frozen=True)
class CodedMask:
    """A mask as bytes."""

    shape: tuple[int, ...]
    codec: str
    zeros: int
    """Number of removed weights."""
    data: bytes

    @property
    def numel(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


def _encode_full(removed: Flags) -> bytes | None:
    return None if removed.any() else b""


def _decode_full(coded: CodedMask) -> Flags:
    return np.zeros(coded.numel, dtype=np.bool_)


def _encode_bits(removed: Flags) -> bytes:
    return np.packbits(removed).tobytes()


def _decode_bits(coded: CodedMask) -> Flags:
    return _unpack(coded.data, coded.numel)


def _encode_units(removed: Flags) -> bytes | None:
    if removed.ndim != 2 or 0 in removed.shape:
        return None
    for dim, first in enumerate((removed[:, :1], removed[:1])):
        if (removed == first).all():
            return bytes([dim]) + np.packbits(first).tobytes()
    return None


def _decode_units(coded: CodedMask) -> Flags:
    if len(coded.shape) != 2 or not coded.data or coded.data[0] > 1:
        raise InputError("the code of units belongs to no matrix")
    dim, (rows, columns) = coded.data[0], coded.shape
    units = _unpack(coded.data[1:], coded.shape[dim])
    return np.repeat(units, columns) if dim == 0 else np.tile(units, rows)


def _encode_gaps(removed: Flags) -> bytes:
    flat, coder = removed.reshape(-1), Encoder()
    rarer = flat if 2 * np.count_nonzero(flat) <= flat.size else ~flat
    coder.add_positions(np.flatnonzero(rarer), flat.size)
    return coder.code()


def _decode_gaps(coded: CodedMask) -> Flags:
    coder, few = Decoder(coded.data), 2 * coded.zeros <= coded.numel
    positions = coder.positions(coded.zeros if few else coded.numel - coded.zeros, coded.numel)
    coder.finish()
    removed = np.full(coded.numel, not few)
    removed[positions] = few
    return removed


def _encode_patterns(removed: Flags) -> bytes:
    symbols, coder = np.packbits(removed), Encoder()
    counts = np.bincount(symbols, minlength=_PATTERNS)
    present = counts > 0
    if np.count_nonzero(present) > 1:
        coder.add_symbols(symbols, counts.astype(np.float64))
    return np.packbits(present).tobytes() + put_counts(counts[present]) + coder.code()


def _decode_patterns(coded: CodedMask) -> Flags:
    present, size = _unpack(coded.data[: _PATTERNS // 8], _PATTERNS), -(-coded.numel // 8)
    counts = np.zeros(_PATTERNS)
    counts[present], code = take_counts(coded.data[_PATTERNS // 8 :], int(np.count_nonzero(present)))
    if counts.sum() != size:
        raise InputError(f"the code holds {counts.sum():.0f} patterns, expected {size}")
    coder = Decoder(code)
    if np.count_nonzero(counts) > 1:
        symbols = coder.symbols(counts, size).astype(np.uint8)
    else:
        symbols = np.full(size, counts.argmax(), dtype=np.uint8)
    coder.finish()
    return _unpack(symbols.tobytes(), coded.numel)


def _unpack(data: bytes, count: int) -> Flags:
    if len(data) != -(-count // 8):
        raise InputError(f"the code has {len(data)} bytes for {count} bits")
    return np.unpackbits(np.frombuffer(data, np.uint8), count=count).view(np.bool_)


CODES: dict[str, tuple[Callable[[Flags], bytes | None], Callable[[CodedMask], Flags]]] = {
    "full": (_encode_full, _decode_full),
    "bits": (_encode_bits, _decode_bits),
    "units": (_encode_units, _decode_units),
    "gaps": (_encode_gaps, _decode_gaps),
    "patterns": (_encode_patterns, _decode_patterns),
}
