"""What to prepare of Common Voice, and what happens to clips that cannot be used."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_s3router.errors import InputError, raise_problems

UNITS = ("characters", "phones")


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What to prepare. Raises InputError for values that contradict each other."""

    lang: str
    """code in Common Voice: es, sv-SE, zh-TW, …"""
    minutes: float = 60
    """duration of the training set; it also names it"""
    dev_minutes: float = 60
    """most minutes of the validation set; 0: all of dev.tsv"""
    units: str = "characters"
    """characters, or phones with spaces between them"""
    lists: Mapping[str, Path] = field(default_factory=dict)
    """train, dev or test -> file with the names of its clips, in place of the table of that name"""
    phone_labels: Path | None = None
    """file with the phones of each clip, in place of espeak-ng's"""
    shared_speakers: str = "error"
    """what happens if speakers read clips of two datasets: ``error``, or ``drop`` their clips from the earlier dataset"""
    on_bad: str = "error"
    """what happens to clips without audio, text or speaker: ``error``, or ``drop`` them"""
    release: str = ""
    """name of the release; empty: that of the folder"""

    def __post_init__(self) -> None:
        if not (0 < self.minutes < math.inf and 0 <= self.dev_minutes < math.inf):
            got = f"minutes {self.minutes:g}, dev_minutes {self.dev_minutes:g}"
            raise InputError(f"got {got}; expected more than 0, and 0 or more")
        if self.units not in UNITS:
            raise InputError(f"got units {self.units!r}; expected one of {', '.join(UNITS)}")
        if self.phone_labels and self.units != "phones":
            raise InputError(
                f"got phone labels {self.phone_labels} with units {self.units}; expected --units phones with them"
            )

    def name(self, split: str) -> str:
        """Name of the dataset of a split."""
        start = f"train_{self.minutes:g}min" if split == "train" else split
        return f"{start}_{self.lang}" + ("_phn" if self.units == "phones" else "")

    def minutes_of(self, split: str) -> float:
        """Minutes to draw from the table of a split; 0 for the whole table, or for a list."""
        return 0 if split in self.lists else {"train": self.minutes, "dev": self.dev_minutes}.get(split, 0)

    def handle(self, problems: Sequence[str], where: str, fix: str) -> None:
        """Raises InputError for problems, or says in a notice that these clips are left out."""
        if self.on_bad == "error":
            raise_problems(problems, where, f"{fix} Or leave these clips out: --on_bad drop")
        elif problems:
            print(f"notice: {where}: {len(problems)} clip(s) left out, the first: {problems[0]}", file=sys.stderr)
