"""How far a training run is, read from the ``progress.tsv`` that our trainer keeps."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Progress:
    """The last line of ``progress.tsv``, seconds and updates summed over all epochs."""

    epoch: int = 0
    max_epoch: int = 0
    updates: int = 0
    train_seconds: float = 0.0
    last_updates: int = 0
    """Updates of the last epoch alone."""


def read_progress(path: Path) -> Progress:
    """Progress so far; zeros before the first epoch has ended. ``updates`` and seconds are kept per epoch in the file."""
    if not path.exists():
        return Progress()
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    if not rows:
        return Progress()
    last = rows[-1]
    updates, seconds = sum(int(row[2]) for row in rows), sum(float(row[3]) for row in rows)
    return Progress(int(last[0]), int(last[1]), updates, seconds, int(last[2]))
