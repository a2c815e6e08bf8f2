"""Entropy coding of positions and symbols, by the range coder of constriction.

Positions are coded as gaps. If each entry is removed with the same probability, the gaps between removed entries have a
geometric distribution. Its parameter follows from two counts, so no table is stored. A gap beyond the alphabet begins with
escape symbols, each for a fixed number of entries. The distribution has no memory, so escapes cost almost nothing.
"""

from importlib.metadata import version
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from espnet_s3router.errors import InputError

CODER = "constriction"
CODER_VERSION = version(CODER)
_categorical: Any = constriction.stream.model.Categorical
WORD = np.dtype("<u4")
"""The coder writes words of 32 bits; files hold them in little-endian order."""


class Encoder:
    """Collects segments, each with a distribution of its own."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def add_positions(self, positions: NDArray[np.integer[Any]], length: int) -> None:
        """Append ascending ``positions`` (count,) in [0, length)."""
        if 0 < len(positions) < length:
            escape = alphabet(len(positions), length) - 1
            gaps = np.diff(positions, prepend=-1) - 1  # (count,) entries in between
            escapes = gaps // escape
            symbols = np.full(len(gaps) + int(escapes.sum()), escape)
            symbols[np.cumsum(escapes + 1) - 1] = gaps % escape
            self.add_symbols(symbols, geometric(len(positions), length))

    def add_symbols(self, symbols: NDArray[np.integer[Any]], weights: NDArray[np.float64]) -> None:
        """Append ``symbols`` (count,) from an alphabet whose probabilities are proportional to ``weights``."""
        self._coder.encode(symbols.astype(np.int32), _categorical(weights, perfect=False))

    def code(self) -> bytes:
        """The code of all segments."""
        return self._coder.get_compressed().astype(WORD).tobytes()


class Decoder:
    """Reads the segments of an ``Encoder`` in their order. All methods raise InputError for a code that it did not write."""

    def __init__(self, code: bytes) -> None:
        if len(code) % WORD.itemsize:
            raise InputError(f"the code has {len(code)} bytes, expected a multiple of {WORD.itemsize}")
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(code, WORD).astype(np.uint32))

    def positions(self, count: int, length: int) -> NDArray[np.int64]:
        """``count`` ascending positions in [0, length)."""
        if not 0 <= count <= length:
            raise InputError(f"the code names {count} of {length} entries")
        if count in (0, length):
            return np.arange(count)
        weights, escape = geometric(count, length), alphabet(count, length) - 1
        parts, missing, escapes = [], count, 0
        while missing:  # one symbol for each position, then one more for each escape
            parts.append(self.symbols(weights, missing))
            missing = int(np.count_nonzero(parts[-1] == escape))
            escapes += missing
            if escapes * escape > length:
                raise InputError("the code leads beyond the end of the matrix")
        symbols = np.concatenate(parts)
        ends = symbols != escape  # (symbols,) True where a gap ends
        positions = np.cumsum(symbols + ends, dtype=np.int64)[ends] - 1
        if positions[-1] >= length:
            raise InputError("the code leads beyond the end of the matrix")
        return positions

    def symbols(self, weights: NDArray[np.float64], count: int) -> NDArray[np.int32]:
        """``count`` symbols, with the ``weights`` that coded them."""
        try:
            return self._coder.decode(_categorical(weights, perfect=False), count)
        except (AssertionError, ValueError) as error:  # constriction raises both on foreign codes
            raise InputError("the code does not fit the counts of the matrix") from error

    def finish(self) -> None:
        """Raises InputError if code is left."""
        if not self._coder.maybe_exhausted():
            raise InputError("the code is longer than the matrix")


def alphabet(count: int, length: int) -> int:
    """Number of gap symbols with the escape: a power of two, so large that few gaps need an escape."""
    size = 4
    while size < 256 and size * count < 3 * length:
        size *= 2
    return size


def geometric(count: int, length: int) -> NDArray[np.float64]:
    """Probabilities of the gaps between ``count`` random positions in ``length``; the last one is that of the escape.

    They come from IEEE multiplications alone, so every machine gets the same numbers.
    """
    share = count / length
    beyond = np.cumprod(np.full(alphabet(count, length) - 1, 1.0 - share))  # P(gap > 0), P(gap > 1), ...
    return np.concatenate([[share], beyond[:-1] * share, beyond[-1:]])


def put_counts(counts: NDArray[np.integer[Any]]) -> bytes:
    """Whole numbers from 0 as bytes: seven bits in each, the low ones first, and a high bit where more follow."""
    out = bytearray()
    for count in counts.tolist():
        while count >= 128:
            out.append(count % 128 + 128)
            count //= 128
        out.append(count)
    return bytes(out)


def take_counts(data: bytes, number: int) -> tuple[NDArray[np.int64], bytes]:
    """(the first ``number`` counts of ``put_counts``, the remaining bytes). Raises InputError if some are missing."""
    counts: list[int] = []
    place = 0
    while len(counts) < number:
        end = next((end for end in range(place, min(place + 6, len(data))) if data[end] < 128), None)
        if end is None:
            raise InputError(f"the code holds {len(counts)} counts, expected {number}")
        counts.append(sum(byte % 128 << 7 * power for power, byte in enumerate(data[place : end + 1])))
        place = end + 1
    return np.array(counts, dtype=np.int64), data[place:]
