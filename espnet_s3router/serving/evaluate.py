"""How often the language of a recording is found, on datasets whose language is known."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_s3router.data.data_dir import read_data_dir
from espnet_s3router.errors import InputError
from espnet_s3router.progress import progress
from espnet_s3router.serving.router import Router
from espnet_s3router.serving.transcript import RATE, read_wave

BOUNDS = (0.0, 2.0, 4.0)
"""Seconds at which a class of durations begins."""


@dataclass(frozen=True)
class Judged:
    """One recording: its language, the route that was found, and its duration in seconds."""

    utt: str
    lang: str
    found: str
    seconds: float
    confidence: float


def judge(router: Router, datasets: Mapping[str, str | Path]) -> list[Judged]:
    """Identify every utterance of Kaldi-style data directories, given by language: the name of a route.

    Raises InputError for a language without a route that ``auto`` can choose, and for a faulty directory, before any
    recording is read.
    """
    left_out = router.left_out()
    for lang in datasets:
        router.bank.config(lang)
        if lang in left_out:
            raise InputError(f"route {lang} {left_out[lang]}, so auto never chooses it. Leave out its dataset")
    recordings = {lang: read_data_dir(folder, allow_empty_text=True).wav for lang, folder in datasets.items()}
    judged = []
    for lang, paths in recordings.items():
        for utt, path in progress(sorted(paths.items()), f"identify {lang}", "recording"):
            wave = read_wave(path)
            found = router.identify(wave)
            judged.append(Judged(utt, lang, found.name, len(wave) / RATE, found.confidence))
    return judged


def accuracy(judged: Sequence[Judged], *, shortest: float = 0.0, same: Sequence[str] = ()) -> float:
    """Share of the recordings of at least ``shortest`` seconds whose language was found.

    Languages in ``same`` count as one, for example those that one voice reads. Raises InputError if there is no recording.
    """
    kept = [one for one in judged if one.seconds >= shortest]
    if not kept:
        raise InputError(f"no recording has {shortest} seconds or more. Give longer ones")
    right = [one.lang == one.found or {one.lang, one.found} <= set(same) for one in kept]
    return sum(right) / len(right)


def confusion(judged: Sequence[Judged], shortest: float = 0.0) -> list[list[str]]:
    """Table with a row for each language: its recordings, and the share in percent that each route got."""
    kept = [one for one in judged if one.seconds >= shortest]
    names = sorted({one.lang for one in judged} | {one.found for one in judged})
    rows = [["language", "recordings", *names]]
    for lang in sorted({one.lang for one in kept}):
        found = Counter(one.found for one in kept if one.lang == lang)
        rows.append([lang, str(found.total()), *(f"{100 * found[name] / found.total():.1f}" for name in names)])
    return rows


def by_duration(judged: Sequence[Judged]) -> list[list[str]]:
    """Table with the accuracy in percent of each class of durations."""
    rows = [["seconds", "recordings", "accuracy %"]]
    for low, high in zip(BOUNDS, (*BOUNDS[1:], float("inf"))):
        kept = [one for one in judged if low <= one.seconds < high]
        name = f"{low:g} to {high:g}" if high < float("inf") else f"{low:g} and more"
        rows.append([name, str(len(kept)), f"{100 * accuracy(kept):.1f}" if kept else "–"])
    return rows
