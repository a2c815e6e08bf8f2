"""``exp/results.tsv``: one tidy row per number, written by many processes, never half.

Tables, plots, the report and the checks are made from it. The file is sorted by key, so that the same rows
are the same file, whoever finished first.
"""

import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError
from espnet_s3router.files import locked, write_atomic

Key = tuple[str, str, str, str, str, str, int, str]
Place = tuple[str, str, str]  # recipe, upstream, split
OF_THE_MODEL = "sparsity_"
"""How the metrics begin that no set is decoded for: then a key of ``methods.report``."""


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One number and what it was measured on. Raises InputError for a value outside its field's range."""

    recipe: str
    upstream: str
    split: str
    """what was trained on, as the recipe names it: 10min, 1h …"""
    set: str
    """the decoded set; empty, and only then, for a number that the model has by itself (``OF_THE_MODEL``)"""
    method: str
    variant: str
    """hash of the resolved config without the seed: runs that differ only in their seed share it"""
    sparsity: float | None
    """fraction of each masked weight tensor set to zero, in [0, 1); None for a method without masks"""
    targets: str
    """empty for a method without targets"""
    init: str
    """score initialisation; empty for a method without scores"""
    lr: float
    seed: int
    metric: str
    """wer, cer, ter (percent) and the counts behind them, or one of ``OF_THE_MODEL``"""
    value: float
    params_trained: int
    params_total: int
    macs: int | None
    """multiply-accumulates of one second of audio; None where not counted"""
    bytes_added: int
    """what is stored beside the base: ⌈n/8⌉ per mask, the head in fp32"""
    train_seconds: float
    updates: int
    """optimiser steps"""
    commit: str

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name), field.type)
        if (self.set == "") != self.metric.startswith(OF_THE_MODEL):
            raise InputError(
                f"set is {self.set!r} with metric {self.metric}; expected a decoded set, none for {OF_THE_MODEL}…."
            )

    @property
    def place(self) -> Place:
        """What a table is about; rows of different places are not compared."""
        return self.recipe, self.upstream, self.split

    @property
    def key(self) -> Key:
        """What a results file holds once."""
        return (
            *(self.recipe, self.upstream, self.split, self.set),
            *(self.method, self.variant, self.seed, self.metric),
        )


COLUMNS = tuple(field.name for field in fields(ResultRow))
_MAY_BE_EMPTY = {"set", "targets", "init"}
_RANGES = {
    "value": (-math.inf, math.inf),
    "sparsity": (0, math.nextafter(1, 0)),
    "seed": (-math.inf, math.inf),
}


def _check(name: str, value: Any, kind: Any) -> None:
    if value is None and kind in (float | None, int | None):
        return
    if kind is str:
        if not isinstance(value, str) or set(value) & set('\t\r\n"') or not (value or name in _MAY_BE_EMPTY):
            raise InputError(f"{name} is {value!r}; expected text without tabs, line ends or double quotes.")
        return
    types = int if kind in (int, int | None) else (int, float)
    low, high = _RANGES.get(name, (0, math.inf))
    if isinstance(value, bool) or not isinstance(value, types) or not math.isfinite(value):
        raise InputError(f"{name} is {value!r}; expected a finite {'integer' if types is int else 'number'}.")
    if not low <= value <= high:
        raise InputError(f"{name} is {value!r}; expected {'a value in [0, 1)' if name == 'sparsity' else '≥ 0'}.")


def read_rows(path: str | Path) -> list[ResultRow]:
    """Rows of a results file; none where there is no file. Raises InputError naming the wrong line."""
    path = Path(path)
    if not path.exists():
        return []
    header, *lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    if header != "\t".join(COLUMNS):
        raise InputError(f"{path}: the first line is {header[:80]!r}; expected the columns {' '.join(COLUMNS)}.")
    rows: dict[Key, ResultRow] = {}
    for number, line in enumerate(lines, 2):
        try:
            row = _parse(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        if row.key in rows:
            raise InputError(f"{path}, line {number}: a second row for {row.key}; keep one of them.")
        rows[row.key] = row
    return list(rows.values())


def _parse(line: str) -> ResultRow:
    cells = line.split("\t")
    if len(cells) != len(COLUMNS):
        raise InputError(f"{len(cells)} columns; expected {len(COLUMNS)}.")
    readers: dict[Any, Any] = {str: str, int: int, float: float}
    readers |= {int | None: lambda cell: int(cell) if cell else None}
    readers |= {float | None: lambda cell: float(cell) if cell else None}
    return ResultRow(**{f.name: readers[f.type](cell) for f, cell in zip(fields(ResultRow), cells, strict=True)})


def put_rows(path: str | Path, rows: Iterable[ResultRow], instead_of: Place | None = None) -> list[ResultRow]:
    """Add rows to a results file, replacing those of the same key, and all of the place ``instead_of``; gives all rows,
    sorted by key.

    Under a lock beside the file and by rename: other writers wait, readers see the old file or the new one.
    """
    path, given = Path(path), list(rows)
    new = {row.key: row for row in given}
    if len(new) < len(given):
        raise InputError(f"{len(given) - len(new)} of the rows for {path} have the key of another; give each once.")
    with locked(path):
        merged = {row.key: row for row in read_rows(path) if row.place != instead_of} | new
        ordered = [merged[key] for key in sorted(merged)]
        lines = ["\t".join("" if cell is None else str(cell) for cell in astuple(row)) for row in ordered]
        write_atomic(path, "\n".join(["\t".join(COLUMNS), *lines]) + "\n")
    return ordered
