"""Durations, large numbers and tables as people read them, and numbers as YAML reads them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from espnet_s3router.errors import InputError


def clock(seconds: float) -> str:
    """Format a duration for a line of progress: 75.2 -> ``1m15s``, 7260 -> ``2h01m``."""
    whole = int(seconds + 0.5)
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m" if whole >= 3600 else f"{whole // 60}m{whole % 60:02d}s"


def duration(seconds: float) -> str:
    """Format a duration for a page: 75.2 -> ``1 min 15 s``, 7260 -> ``2 h 01 min``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"


def scaled(number: float) -> str:
    """Format a number with three figures and a prefix for powers of 1000, ready for a unit: 94371840 -> ``94.4 M``."""
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:#.3g}".rstrip(".") + f" {prefix}"
    return f"{number:g} "


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Columns of equal width."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in table)


NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
"""YAML 1.1 reads such a number as text, unless it has both a point and a sign of the exponent."""


def refuse_numbers_as_text(options: Any, place: str = "") -> None:
    """Raises InputError for a text within ``options`` (mappings and lists) that was meant as a number."""
    if isinstance(options, str) and NUMBER.fullmatch(options):
        raise InputError(
            f"{place} is {options!r}, expected a number. YAML takes {options} for text: write {as_yaml(options)}"
        )
    if isinstance(options, Mapping):
        for key, value in options.items():
            refuse_numbers_as_text(value, f"{place}: {key}" if place else str(key))
    elif isinstance(options, list):
        for value in options:
            refuse_numbers_as_text(value, place)


def as_yaml(number: str) -> str:
    """A number in a form that YAML 1.1 reads as a number: 8e2 as 800, 1e-3 as 1.0e-3."""
    if float(number).is_integer():
        return str(int(float(number)))
    mantissa, exponent = re.split("[eE]", number)
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent):+d}"
