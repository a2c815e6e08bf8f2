"""Tables of ``key value`` lines, and files and directories that appear whole or not at all."""

from collections.abc import Mapping
from pathlib import Path

from espnet_s3router.errors import InputError

Table = dict[str, str]
SHOWN = 10  # problems printed in full; the rest are counted


def raise_problems(problems: list[str], where: str, fix: str) -> None:
    """Raise InputError listing the first ten problems and the count, if there are any."""
    if problems:
        more = [f"… and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        listed = "\n  ".join(problems[:SHOWN] + more)
        raise InputError(f"{where}: {len(problems)} problem(s)\n  {listed}\n{fix}")


def read_table(path: Path, problems: list[str]) -> Table:
    """``key value`` lines of a UTF-8 file as a dict; what is wrong is appended to ``problems``."""
    if not path.is_file():
        problems.append(f"{path.name}: the file is missing")
        return {}
    table: Table = {}
    # Split at \n only: splitlines() would also break at characters that occur inside transcripts.
    for number, raw in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip(" \t\r")
        except UnicodeDecodeError as error:
            problems.append(f"{path.name} line {number}: not UTF-8 ({error.reason} at byte {error.start})")
            continue
        if not line:
            continue
        key, _, value = line.replace("\t", " ").partition(" ")
        if key in table:
            problems.append(f"{path.name} line {number}: duplicate key {key!r}")
        table[key] = value.strip(" ")
    if not table and not problems:
        problems.append(f"{path.name}: no entries")
    return table


def write_table(path: Path, table: Mapping[str, object]) -> None:
    """Write ``key value`` lines sorted by key (code point order, which is LC_ALL=C's for UTF-8)."""
    lines = (f"{key} {table[key]}".rstrip(" ") + "\n" for key in sorted(table))
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
