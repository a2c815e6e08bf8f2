"""The fixed split of the Asterisk recordings, by hash, so that it can never drift.

h = int(md5("LANG/KEY"), 16) mod 100; h < 20 test, 20 <= h < 35 dev, the rest train. The resulting
key lists are committed in ``asterisk_splits``; every preparation checks both against each other.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from espnet_s3router.data.tables import raise_problems
from espnet_s3router.errors import InputError

SPLITS_DIR = Path(__file__).parent / "asterisk_splits"
PARTS = ("train", "dev", "test")


def key_hash(lang: str, key: str) -> int:
    """md5 of ``LANG/KEY`` (``en/vm-goodbye``; case kept) as an integer."""
    return int(hashlib.md5(f"{lang}/{key}".encode(), usedforsecurity=False).hexdigest(), 16)


def part_of(lang: str, key: str) -> str:
    """``train``, ``dev`` or ``test``."""
    h = key_hash(lang, key) % 100
    return "test" if h < 20 else "dev" if h < 35 else "train"


def read_lists(lang: str, splits_dir: Path = SPLITS_DIR) -> dict[str, list[str]]:
    """Part -> its committed keys, sorted."""
    lists = {}
    for part in PARTS:
        path = splits_dir / f"{lang}.{part}.txt"
        if not path.is_file():
            raise InputError(f"{path} is missing. It belongs to the sources: restore it from there.")
        lists[part] = path.read_text(encoding="utf-8").split()
    return lists


def checked_lists(lang: str, keys: Iterable[str], splits_dir: Path = SPLITS_DIR) -> dict[str, list[str]]:
    """The committed lists, after checking them against the rule and against the keys found in the data.

    Raises InputError naming keys in the wrong part, keys without data and data in no list.
    """
    lists = read_lists(lang, splits_dir)
    listed = {key for part in lists.values() for key in part}
    found = set(keys)
    problems = [
        f"{key!r} is listed in {part}, the rule puts it into {part_of(lang, key)}"
        for part, part_keys in lists.items()
        for key in part_keys
        if part_of(lang, key) != part
    ]
    problems += [f"{key!r} is listed, but has no text or no recording" for key in sorted(listed - found)]
    problems += [f"{key!r} has text and recording, but is not listed" for key in sorted(found - listed)]
    fix = "Expected the core sounds of version 1.6.1 and unaltered lists: download again, restore the lists."
    raise_problems(problems, f"Asterisk split of {lang}", fix)
    return lists


def first_minutes(lang: str, seconds: Mapping[str, float], minutes: float) -> list[str]:
    """The longest prefix of the keys, ordered by ``key_hash`` (all 128 bits), of at most ``minutes``.

    ``seconds``: key -> duration. The prefix stops at the first key that would not fit.
    """
    chosen, total = [], 0.0
    for key in sorted(seconds, key=lambda key: key_hash(lang, key)):
        total += seconds[key]
        if total > 60 * minutes:
            break
        chosen.append(key)
    return chosen
