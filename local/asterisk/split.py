"""The fixed split of the Asterisk recordings into training, validation and test set, by a hash of each key.

h = int(md5("LANG/KEY"), 16) mod 100; h < 20 is test, 20 <= h < 35 is dev, the rest is train. The result of this rule is
committed in ``splits.tsv``. Every preparation checks that the rule, the table and the data agree.
"""

from collections.abc import Iterable
from pathlib import Path

from espnet_s3router.errors import InputError, raise_problems
from espnet_s3router.text_files import read_lines
from local.hash_order import key_hash

SPLITS = Path(__file__).with_name("splits.tsv")
COLUMNS = ["lang", "part", "key"]
PARTS = ("train", "dev", "test")


def part_of(lang: str, key: str) -> str:
    """The part of a key: ``train``, ``dev`` or ``test``."""
    h = key_hash(lang, key) % 100
    return "test" if h < 20 else "dev" if h < 35 else "train"


def read_lists(lang: str, splits: Path = SPLITS) -> dict[str, list[str]]:
    """Part -> its committed keys, sorted. Raises InputError for a table that is missing or altered."""
    expected = "a table that belongs to the sources: restore it from there"
    header, *rows = [line.split("\t") for line in read_lines(splits, expected=expected)] or [[]]
    if header != COLUMNS or any(len(row) != len(COLUMNS) or row[1] not in PARTS for row in rows):
        raise InputError(f"{splits}: holds other columns than {', '.join(COLUMNS)}. Expected {expected}")
    return {part: [key for row_lang, row_part, key in rows if (row_lang, row_part) == (lang, part)] for part in PARTS}


def checked_lists(lang: str, keys: Iterable[str], splits: Path = SPLITS) -> dict[str, list[str]]:
    """The committed lists, checked against the rule and against the ``keys`` of the data.

    Raises InputError that names keys in the wrong part, listed keys without data and keys that no list holds.
    """
    lists = read_lists(lang, splits)
    listed = {key for part in lists.values() for key in part}
    present = set(keys)
    problems = [
        f"{key!r} is listed in {part}, the rule puts it into {part_of(lang, key)}"
        for part, part_keys in lists.items()
        for key in part_keys
        if part_of(lang, key) != part
    ]
    problems += [f"{key!r} is listed, but has no text or no recording" for key in sorted(listed - present)]
    problems += [f"{key!r} has text and recording, but is not listed" for key in sorted(present - listed)]
    fix = "Expected the core sounds of version 1.6.1 and an unaltered table: download again, restore the table."
    raise_problems(problems, f"Asterisk split of {lang}", fix)
    return lists
