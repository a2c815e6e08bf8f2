"""``results.tsv``: one tidy row per number. Tables, plots, the report and the checks are made from it.

Several processes may write to it. The rows are sorted by key, so equal rows give equal files.
"""

import math
from collections.abc import Collection, Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError
from espnet_s3router.files import locked, write_atomic

Key = tuple[str, str, str, str, str, str, int, str]
Place = tuple[str, str, str]  # recipe, upstream, split
ACCURACY = "accuracy"
"""Share of the utterances whose intent is right. Its counts are errors, as those of every metric."""
METRICS = (ACCURACY, "cer", "wer", "per")
"""Metrics on pages, the primary one first. A run on phones has the phone error rate alone, other runs CER and WER; a run on
intents has their accuracy before these."""
WORD_METRICS = ("wer", "per")
"""Error rates over what white space separates: words or phones. Their alignments are kept for matched pairs."""
MODEL_METRIC = "sparsity_"
"""Prefix of metrics of the zeros in a model. A key of ``sparsity`` in ``model.json`` follows it."""
ROUTE_METRIC = "route_"
"""Prefix of metrics of a route file: ``bytes`` of the file, and ``bytes_masks`` of the masks in it, follow it."""
SHRUNK_METRIC = "shrunk_"
"""Prefix of metrics of a model without removed units: ``parameters`` and ``macs`` of its upstream, its ``rtf`` and that of
the dense model (``rtf_dense``), and more, as ``shrunk.json`` names them."""
WITHOUT_SET = (MODEL_METRIC, ROUTE_METRIC, SHRUNK_METRIC)
"""Prefixes of the metrics that belong to a model and to no dataset."""


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One number and what it was measured on. Raises InputError for a value outside the range of its field."""

    recipe: str
    upstream: str
    split: str
    """training data, as the recipe names it: 10min, 1h …"""
    set: str
    """the decoded dataset; empty if and only if the metric belongs to the model (``WITHOUT_SET``)"""
    method: str
    variant: str
    """hash of the resolved configuration without the seed: runs that differ only in their seed share it"""
    sparsity: float | None
    """fraction of each masked weight tensor set to zero, in [0, 1); None for a method without masks"""
    targets: str
    """empty for a method without targets"""
    init: str
    """score initialisation; empty for a method without scores"""
    lr: float
    seed: int
    metric: str
    """accuracy, wer, cer, per, ter (percent) and the counts behind them, a further measure, or a metric of the model"""
    value: float
    params_trained: int
    params_total: int
    macs: int | None
    """multiply-accumulates for one second of audio; None if not counted"""
    bytes_added: int
    """storage beside the base: ⌈n/8⌉ per mask, the head in fp32"""
    train_seconds: float
    updates: int
    """optimiser steps"""
    commit: str
    base: str = ""
    """first digits of the fingerprint of the upstream's weights; older rows lack it"""

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name), field.type)
        if (self.set == "") != self.metric.startswith(WITHOUT_SET):
            without = " and ".join(f"{prefix}…" for prefix in WITHOUT_SET)
            raise InputError(
                f"set is {self.set!r} with metric {self.metric}; expected a decoded set, or none for {without}."
            )

    @property
    def place(self) -> Place:
        """Recipe, upstream and split. Rows of different places are not compared."""
        return self.recipe, self.upstream, self.split

    @property
    def key(self) -> Key:
        """A results file holds each key once."""
        return (*self.place, self.set, self.method, self.variant, self.seed, self.metric)


def shown_metrics(measured: Collection[str]) -> list[str]:
    """Those of ``METRICS`` that were measured, the primary one first; all but the phone error rate if none was."""
    return [metric for metric in METRICS if metric in measured] or ["cer", "wer"]


def shown_value(metric: str, error_rate: float) -> float:
    """What is shown of an error rate in percent: the accuracy, if the metric is one."""
    return 100 - error_rate if metric == ACCURACY else error_rate


def errors_named(metric: str) -> str:
    """The name of the errors that a metric counts."""
    return "intent errors" if metric == ACCURACY else metric.upper()


def best_named(metric: str) -> str:
    """For example ``the lowest CER``."""
    return f"the {'highest' if metric == ACCURACY else 'lowest'} {metric.upper()}"


COLUMNS = tuple(field.name for field in fields(ResultRow))
_OLD_COLUMNS = COLUMNS[:-1]  # without base
_MAY_BE_EMPTY = {"set", "targets", "init", "base"}
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
    """Rows of a results file; an empty list if there is no file. Raises InputError with the line that is wrong."""
    path = Path(path)
    if not path.exists():
        return []
    header, *lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    columns = tuple(header.split("\t"))
    if columns not in (COLUMNS, _OLD_COLUMNS):
        raise InputError(f"{path}: the first line is {header[:80]!r}; expected the columns {' '.join(COLUMNS)}.")
    rows: dict[Key, ResultRow] = {}
    for number, line in enumerate(lines, 2):
        try:
            row = _parse(line, len(columns))
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        if row.key in rows:
            raise InputError(f"{path}, line {number}: a second row for {row.key}; keep one of them.")
        rows[row.key] = row
    return list(rows.values())


def _parse(line: str, columns: int) -> ResultRow:
    cells = line.split("\t")
    if len(cells) != columns:
        raise InputError(f"{len(cells)} columns; expected {columns}.")
    readers: dict[Any, Any] = {str: str, int: int, float: float}
    readers |= {int | None: lambda cell: int(cell) if cell else None}
    readers |= {float | None: lambda cell: float(cell) if cell else None}
    return ResultRow(**{f.name: readers[f.type](cell) for f, cell in zip(fields(ResultRow), cells)})


def put_rows(path: str | Path, rows: Iterable[ResultRow], replaced_place: Place | None = None) -> list[ResultRow]:
    """Add rows to a results file and return all its rows, sorted by key.

    The new rows replace rows with the same key, and all rows of ``replaced_place``. Other writers wait for a lock beside
    the file. Readers see the old file or the new one. Raises InputError if rows of one place have different bases.
    """
    path, rows = Path(path), list(rows)
    new = {row.key: row for row in rows}
    if len(new) < len(rows):
        raise InputError(f"{len(rows) - len(new)} of the rows for {path} repeat the key of another; give each once.")
    with locked(path):
        merged = {row.key: row for row in read_rows(path) if row.place != replaced_place} | new
        ordered = [merged[key] for key in sorted(merged)]
        _refuse_other_weights(path, ordered)
        lines = ["\t".join("" if cell is None else str(cell) for cell in astuple(row)) for row in ordered]
        write_atomic(path, "\n".join(["\t".join(COLUMNS), *lines]) + "\n")
    return ordered


def _refuse_other_weights(path: Path, rows: Iterable[ResultRow]) -> None:
    """Raises InputError if an upstream of one name had different weights: their results cannot be compared."""
    first: dict[Place, ResultRow] = {}
    for row in rows:
        other = first.setdefault(row.place, row) if row.base else row
        if other.base != row.base:
            runs = " and ".join(f"{one.base} of {one.method} seed {one.seed}" for one in (other, row))
            raise InputError(
                f"{path}: upstream {row.upstream} names two sets of weights: {runs}. Remove the runs on the old weights and "
                "this file, or choose another --expdir"
            )
