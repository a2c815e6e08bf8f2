"""MAPSSWE, the matched-pairs sentence-segment word error test (Gillick and Cox, ICASSP 1989), as NIST's sc_stats does it.

A segment ends where both systems recognise two words in a row without an error between them, and at the end of an
utterance. Segments without an error are left out. The test asks whether the mean difference of word errors per segment
is zero. With several training seeds, a segment is bounded by words that every run recognises, and errors are means over
the runs of a system: the p-value is about these runs, not about seeds in general.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

CORRECT_WORDS = 2  # that end a segment; sc_stats has the same default


@dataclass(frozen=True)
class MatchedPairs:
    """Result of the test. A negative ``z`` says that the first system makes fewer errors."""

    segments: int
    mean: float
    """mean over segments of (errors of the first system - errors of the second)"""
    z: float
    """mean / (standard deviation / √segments); 0 if all differences are equal, as in sc_stats"""
    p: float
    """two-sided, by the normal distribution"""


def matched_pairs(system: Sequence[Sequence[str]], baseline: Sequence[Sequence[str]]) -> MatchedPairs:
    """Compare two systems. Each is (runs, utterances) of alignments, a letter of ``alignment.STEPS`` per step."""
    from scipy.stats import norm

    errors = [errors for utterance in zip(*system, *baseline, strict=True) for errors in segment_errors(utterance)]
    table = np.array(errors, float).reshape(-1, len(system) + len(baseline))  # (segments, runs)
    differences = table[:, : len(system)].mean(axis=1) - table[:, len(system) :].mean(axis=1)
    mean = float(differences.mean()) if len(differences) else 0.0
    deviation = differences.std(ddof=1) if len(differences) > 1 else 0.0
    z = float(mean / (deviation / np.sqrt(len(differences)))) if deviation > 0 else 0.0
    return MatchedPairs(len(differences), mean, z, float(2 * norm.sf(abs(z))))


def segment_errors(alignments: Sequence[str]) -> Iterator[tuple[int, ...]]:
    """Word errors of each segment of one utterance, a number per alignment. All have the same reference words."""
    by_word = zip(*map(_errors_by_word, alignments), strict=True)
    inserted_by_word, wrong_by_word = (np.array(rows).T for rows in by_word)  # (words + 1, alignments) each
    errors, correct = np.zeros(len(alignments), int), 0
    for inserted, wrong in zip(inserted_by_word, wrong_by_word, strict=True):
        correct = 0 if inserted.any() or wrong.any() else correct
        errors += inserted + wrong
        correct += not wrong.any()
        if correct == CORRECT_WORDS and errors.any():
            yield tuple(errors.tolist())
            errors[:] = 0
    if errors.any():
        yield tuple(errors.tolist())


def _errors_by_word(steps: str) -> tuple[list[int], list[int]]:
    """Insertions before each reference word and whether the word is wrong; the last entry is the end of the utterance."""
    inserted, wrong = [0], []
    for step in steps:
        if step == "I":
            inserted[-1] += 1
        else:
            wrong.append(int(step != "C"))
            inserted.append(0)
    return inserted, [*wrong, 0]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for testing several hypotheses (Holm, Scandinavian Journal of Statistics 1979)."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected.tolist()
