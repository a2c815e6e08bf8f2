"""Durations of clips: from ``clip_durations.tsv``, or measured where that file or the clip in it is missing."""

from collections.abc import Iterable
from pathlib import Path

from espnet_s3router.data.audio import load_mono
from espnet_s3router.data.decode import BadAudio
from espnet_s3router.errors import InputError
from espnet_s3router.text_files import read_lines
from local.commonvoice.release import audio_path
from local.commonvoice.tables import RESTORE, clip_name, table_rows

DURATIONS = "clip_durations.tsv"


class Durations:
    """Seconds of the clips of a language."""

    def __init__(self, folder: Path) -> None:
        """``folder``: of a language. Raises InputError for a table that is not as it was released."""
        self.folder = folder
        self.listed = read_durations(folder / DURATIONS) if (folder / DURATIONS).is_file() else {}
        self.measured: dict[str, float] = {}
        self.problems: dict[str, str] = {}
        """Clip -> why it has no duration: a missing or faulty file."""

    def __call__(self, name: str) -> float | None:
        """Seconds, or None with an entry in ``problems``."""
        path = audio_path(self.folder, name)
        if name in self.listed and path.is_file():
            return self.listed[name]
        if name not in self.measured and name not in self.problems:
            try:
                sound = load_mono(path)
            except BadAudio as error:
                self.problems[name] = error.detail
            else:
                self.measured[name] = len(sound.samples) / sound.rate
        return self.measured.get(name)

    def total(self, names: Iterable[str]) -> float:
        """Seconds of several clips together."""
        return sum(self(name) or 0.0 for name in names)


def read_durations(path: Path) -> dict[str, float]:
    """Clip -> seconds. Durations of 0, which stand for files that could not be measured, are left out."""
    problems: list[str] = []
    header = (read_lines(path, expected=RESTORE) or [""])[0].split("\t")
    key = next((name for name in ("clip", "filename", "path") if name in header), "clip")
    seconds: dict[str, float] = {}
    for place, (name, milliseconds) in table_rows(path, (key, "duration[ms]"), problems):
        try:
            seconds[clip_name(name)] = float(milliseconds) / 1000
        except ValueError:
            problems.append(f"{place}: {milliseconds!r} is no number of milliseconds")
    if problems:
        raise InputError(f"{path}: {problems[0]}. {RESTORE}")
    return {name: value for name, value in seconds.items() if value > 0}
