"""UTF-8 text files: plain lines, and Kaldi-style tables with one ``key value`` pair on each line."""

from collections.abc import Mapping
from pathlib import Path

from espnet_s3router.errors import InputError, raise_problems

Table = dict[str, str]


def read_lines(path: str | Path, *, expected: str = "a UTF-8 text file") -> list[str]:
    """Lines of a UTF-8 file, split at "\\n" only, because U+2028 and similar characters belong to the text.

    Raises InputError, which says what is ``expected``, for a file that cannot be read or is not UTF-8.
    """
    try:
        lines = Path(path).read_bytes().decode("utf-8").split("\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Expected {expected}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}). Expected {expected}") from error
    return lines if lines[-1] else lines[:-1]


def read_table(path: Path, problems: list[str], *, allow_blank: bool = True, allow_empty: bool = False) -> Table:
    """Read ``key value`` lines (separated by a space or a tab) and append each fault to ``problems``.

    A key alone has an empty value. A UTF-8 byte order mark is ignored. ``allow_blank``: skip blank lines;
    ``allow_empty``: accept a file without entries. Inner spaces of a value are kept.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        problems.append(f"{path.name}: cannot be read ({error.strerror})")
        return {}
    table: Table = {}
    for number, raw in enumerate(lines if lines[-1] else lines[:-1], 1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip(" \t\r")
        except UnicodeDecodeError as error:
            problems.append(f"{path.name} line {number}: not UTF-8 ({error.reason} at byte {error.start})")
            continue
        key, _, value = line.replace("\t", " ").partition(" ")
        if key in table:
            problems.append(f"{path.name} line {number}: the key {key!r} occurs twice")
        if key:
            table[key] = value.strip(" ")
        elif not allow_blank:
            problems.append(f"{path.name} line {number}: the line is blank")
    if not (table or problems or allow_empty):
        problems.append(f"{path.name}: no entries")
    return table


def read_text(path: str | Path) -> Table:
    """Read a Kaldi-style ``text`` file (utterance and words on each line) and separate its words by single spaces.

    Raises InputError for blank lines, for repeated keys and for a file that cannot be read or is not UTF-8.
    """
    problems: list[str] = []
    table = read_table(Path(path), problems, allow_blank=False, allow_empty=True)
    raise_problems(problems, str(path), "Expected a UTF-8 file of `key words…` lines with unique keys.")
    return {key: " ".join(value.split()) for key, value in table.items()}


def write_table(path: Path, table: Mapping[str, object]) -> None:
    """Write ``key value`` lines, sorted by key in code point order (the order of LC_ALL=C for UTF-8)."""
    lines = (f"{key} {table[key]}".rstrip(" ") + "\n" for key in sorted(table))
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
