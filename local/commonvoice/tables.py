"""The tables of clips of a release.

Columns and their order differ between releases, so they are found by name: since release 17, ``sentence_id`` stands before
``sentence``. The tables are written without quoting, and a tab or backslash inside a cell has a backslash before it.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from espnet_s3router.errors import InputError
from espnet_s3router.text_files import read_lines
from local.commonvoice.release import LISTS_HINT

COLUMNS = ("client_id", "path", "sentence")
IDENTIFIER = re.compile(r"[0-9a-f]{16,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|common_voice_\S+", re.IGNORECASE)
MOST_IDENTIFIERS = 0.1  # of the values of a column of sentences
RESTORE = "Expected a table as it was released: restore it from the archive."


@dataclass(frozen=True)
class Clip:
    """One line of a table: the speaker (``client_id``), what was read, and where the line stands."""

    speaker: str
    sentence: str
    place: str
    """file and line, for messages"""


Clips = dict[str, Clip]
"""Name of a clip, which is that of its audio file without ``.mp3`` -> the clip."""


def clip_name(path: str) -> str:
    """``es/clips/common_voice_es_1.mp3`` -> ``common_voice_es_1``."""
    return path.rpartition("/")[2].removesuffix(".mp3")


def read_clips(path: Path, problems: list[str]) -> Clips:
    """Read a table of clips and append each faulty line to ``problems``.

    Raises InputError for an empty table, for missing columns, and for identifiers in place of sentences.
    """
    clips: Clips = {}
    for place, (speaker, name, sentence) in table_rows(path, COLUMNS, problems):
        key = clip_name(name)
        faults = [f"no {column}" for column, cell in zip(COLUMNS, (speaker, key, sentence)) if not cell.strip()]
        if key in clips:
            faults.append(f"the clip {key} occurs twice")
        if faults:
            problems.append(f"{place}: {', '.join(faults)} ({key or 'nameless clip'})")
        else:
            clips[key] = Clip("_".join(speaker.split()), sentence, place)
    if not clips and not problems:
        raise InputError(
            f"{path}: holds no clips; this release has too little validated speech in this language for a split. "
            f"Choose another release or language, or {LISTS_HINT}"
        )
    _refuse_identifiers(path, clips)
    return clips


def table_rows(path: Path, columns: tuple[str, ...], problems: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The place of each line and its cells in the named columns. Faulty lines are appended to ``problems``."""
    lines = [line.rstrip("\r") for line in read_lines(path, expected=RESTORE)]
    header = lines[0].removeprefix("\ufeff").split("\t") if lines else []
    if missing := [column for column in columns if column not in header]:
        raise InputError(f"{path}: no column {', '.join(missing)} in the first line, {header}. {RESTORE}")
    at = [header.index(column) for column in columns]
    for number, line in enumerate(lines[1:], 2):
        place, cells = f"{path.name} line {number}", _cells(line, len(header))
        if len(cells) == len(header):
            yield place, [cells[index] for index in at]
        elif line:
            quoted = ": a tab between quotes? Another program has written the table" if '"' in line else ""
            problems.append(f"{place}: {len(cells)} cells, the first line has {len(header)}{quoted}")


def _cells(line: str, columns: int) -> list[str]:
    """The cells of a line. Backslashes count only where the tabs alone give another number of cells."""
    cells = line.split("\t")
    if len(cells) > columns and "\\" in line:
        try:
            (cells,) = csv.reader([line], delimiter="\t", quoting=csv.QUOTE_NONE, escapechar="\\")
        except csv.Error:
            return cells
    return cells


def _refuse_identifiers(path: Path, clips: Clips) -> None:
    """Raises InputError if the column ``sentence`` holds what ``sentence_id`` should hold."""
    found = [clip for clip in clips.values() if IDENTIFIER.fullmatch(clip.sentence.strip())]
    if len(found) > MOST_IDENTIFIERS * len(clips):
        raise InputError(
            f"{path}: {len(found)} of {len(clips)} values of the column sentence are identifiers, such as "
            f"{found[0].sentence!r} in {found[0].place}; expected what was read aloud. {RESTORE}"
        )
