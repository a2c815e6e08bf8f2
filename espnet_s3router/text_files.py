"""UTF-8 text files: plain lines, and Kaldi-style tables with one ``key value`` pair on each line."""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from espnet_s3router.errors import InputError, raise_problems

Table = dict[str, str]
RESERVED = frozenset({"<blank>", "<space>", "<sos/eos>"})
"""Tokens of ESPnet that no symbol of a user can be. ``<unk>`` may be one: unknown words in a transcript."""


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


def read_table(
    path: Path, problems: list[str], *, allow_blank: bool = True, allow_empty: bool = False, words: bool = False
) -> Table:
    """Read ``key value`` lines (separated by spaces or tabs) and append each fault to ``problems``.

    A key alone has an empty value. A UTF-8 byte order mark is ignored. White space that ESPnet reads in another way is a
    fault. ``allow_blank``: skip blank lines; ``allow_empty``: accept a file without entries; ``words``: separate the words
    of a value by single spaces, and accept no white space in it but spaces and tabs.
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
        key, *value = re.split(r"[ \t]+", line, maxsplit=1)
        if misread := _misread(line, words):
            problems.append(f"{path.name} line {number}: {key!r} holds {misread}: use plain spaces")
        if key in table:
            problems.append(f"{path.name} line {number}: the key {key!r} occurs twice")
        if key:
            table[key] = " ".join(value[0].split() if words and value else value)
        elif not allow_blank:
            problems.append(f"{path.name} line {number}: the line is blank")
    if not (table or problems or allow_empty):
        problems.append(f"{path.name}: no entries")
    return table


def _misread(line: str, words: bool) -> str:
    """The first character of a line of a table that ESPnet reads in another way than ``read_table``; empty if there is none.

    espnet2.fileio.read_text ends a line at each carriage return and separates the key at any white space of Unicode.
    """
    odd = [c for c in line if c == "\0" or (c.isspace() and c not in " \t")]
    if odd and (
        words or {"\r", "\0"} & set(odd) or line.rstrip().split(maxsplit=1) != re.split(r"[ \t]+", line, maxsplit=1)
    ):
        return f"U+{ord(odd[0]):04X} ({unicodedata.name(odd[0], 'control character').lower()})"
    return ""


def read_text(path: str | Path) -> Table:
    """Read a Kaldi-style ``text`` file (utterance and words on each line) and separate its words by single spaces.

    Raises InputError for blank lines, for repeated keys and for a file that cannot be read or is not UTF-8.
    """
    problems: list[str] = []
    table = read_table(Path(path), problems, allow_blank=False, allow_empty=True)
    raise_problems(problems, str(path), "Expected a UTF-8 file of `key words…` lines with unique keys.")
    return {key: " ".join(value.split()) for key, value in table.items()}


def read_tokens(path: str | Path) -> list[str]:
    """The tokens of a token list, as ESPnet reads them. Raises InputError if the file cannot be read."""
    return [line.rstrip() for line in read_lines(path, expected="a token list: run stage 5")]


def read_symbols(path: str | Path, *, allow_prefixes: bool = False) -> list[str]:
    """Read non-linguistic symbols such as ``<noise>``, one on each line: one token each, which scoring leaves out.

    ``allow_prefixes``: one symbol may begin another one, for readers that take the longest.

    Raises InputError for a file that ESPnet reads in another way, and for symbols that cannot be tokens or words.
    """
    lines = read_lines(path, expected="non-linguistic symbols, one on each line")
    symbols = list(dict.fromkeys(line.rstrip() for line in lines))  # ESPnet strips the same characters
    problems = [f"line {number}: the line is blank" for number, line in enumerate(lines, 1) if not line.strip()]
    if symbols and symbols[0].startswith("\ufeff"):
        problems.append("line 1: a byte order mark, which ESPnet takes for a part of the symbol")
    for symbol in symbols:
        if len(symbol.split()) > 1 or symbol != symbol.strip():
            problems.append(f"{symbol!r} holds white space: it would be several words")
        if symbol in RESERVED:
            problems.append(f"{symbol!r} is a token of ESPnet with another meaning")
        others = () if allow_prefixes else symbols
        problems += [f"{symbol!r} begins {other!r}: ESPnet may take either" for other in others if _begins(symbol, other)]
    raise_problems(problems, str(path), "Expected symbols such as <noise>, one on each line. Mend the file and run again.")
    return symbols


def _begins(symbol: str, other: str) -> bool:
    return bool(symbol) and symbol != other and other.startswith(symbol)


def write_table(path: Path, table: Mapping[str, object]) -> None:
    """Write ``key value`` lines, sorted by key in code point order (the order of LC_ALL=C for UTF-8)."""
    lines = (f"{key} {table[key]}".rstrip(" ") + "\n" for key in sorted(table))
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
