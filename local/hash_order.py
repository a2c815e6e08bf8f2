"""An order of utterances by the md5 of their keys, and small training sets that are beginnings of it.

Nobody chooses such an order, and every machine computes the same one.
"""

import hashlib
from collections.abc import Callable, Iterable


def key_hash(lang: str, key: str) -> int:
    """The md5 of ``LANG/KEY`` (case-sensitive, for example ``en/vm-goodbye``) as an integer."""
    return int(hashlib.md5(f"{lang}/{key}".encode(), usedforsecurity=False).hexdigest(), 16)


def first_minutes(lang: str, keys: Iterable[str], minutes: float, seconds: Callable[[str], float | None]) -> list[str]:
    """The longest prefix of the keys, ordered by ``key_hash`` (all 128 bits), of at most ``minutes``.

    ``seconds``: key -> duration, or None for a key to leave out. It is asked only up to the first key that does not fit,
    which ends the prefix.
    """
    chosen, total = [], 0.0
    for key in sorted(keys, key=lambda key: key_hash(lang, key)):
        if (duration := seconds(key)) is None:
            continue
        total += duration
        if total > 60 * minutes:
            break
        chosen.append(key)
    return chosen
