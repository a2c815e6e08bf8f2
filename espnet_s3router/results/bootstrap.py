"""Percentile bootstrap intervals of error rates and of their relative differences.

Utterances are resampled together with all seeds' decodings of them, because the same words are hard for every seed. With
several seeds, the seeds are resampled too, independently of the utterances (Efron and Tibshirani 1993, ch. 13; paired over
systems as in Bisani and Ney, ICASSP 2004). Few seeds understate the variance between seeds by (S - 1)/S: three seeds give
an interval, not a proof. Bounds are order statistics without interpolation.
"""

from dataclasses import dataclass

import numpy as np

from espnet_s3router.errors import InputError

NO_WORSE_MARGIN = 0.05  # relative difference
REPLICATES = 10_000
_CHUNK = 4_000_000  # resampled utterances in memory at a time: 32 MB of int64


@dataclass(frozen=True)
class Interval:
    """A statistic with its lower and upper bound, in the unit of the statistic (rates: fractions)."""

    value: float
    low: float
    high: float

    def complement(self) -> "Interval":
        """The interval of 1 - statistic: of an accuracy, if the statistic is an error rate."""
        return Interval(1 - self.value, 1 - self.high, 1 - self.low)


@dataclass(frozen=True)
class Difference(Interval):
    """Relative difference of two error rates, (system - baseline) / baseline: -0.3 is 30 % fewer errors."""

    @property
    def better(self) -> bool:
        """The interval lies below 0."""
        return self.high < 0

    @property
    def worse(self) -> bool:
        """The interval lies above 0."""
        return self.low > 0

    @property
    def no_worse(self) -> bool:
        """The upper bound is below +5 % relative. A difference can be both ``worse`` and ``no_worse``."""
        return self.high < NO_WORSE_MARGIN

    @property
    def verdict(self) -> str:
        """The first that holds of: better, at most 5 % worse, worse, inconclusive."""
        little = f"at most {100 * NO_WORSE_MARGIN:.0f} % worse"
        names = {"better": self.better, little: self.no_worse, "worse": self.worse}
        return next((name for name, holds in names.items() if holds), "inconclusive")


def error_rate_interval(
    errors: np.ndarray,
    lengths: np.ndarray,
    *,
    replicates: int = REPLICATES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of the pooled error rate Σ errors / Σ reference tokens.

    ``errors`` (seeds, utterances) or (utterances,): substitutions, deletions and insertions. ``lengths`` (utterances,):
    reference tokens. Raises InputError for shapes that do not fit and for references without a token.
    """
    errors, lengths = _checked(errors, lengths)
    wrong, tokens = _resampled_sums(errors, lengths, replicates, seed)
    rates = _rates(wrong, tokens, seed, stream=1)
    value = errors.sum() / (len(errors) * lengths.sum())
    return Interval(float(value), *_bounds(rates, level))


def relative_difference(
    errors: np.ndarray,
    baseline: np.ndarray,
    lengths: np.ndarray,
    *,
    paired_seeds: bool = True,
    replicates: int = REPLICATES,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Paired bootstrap of (rate - baseline rate) / baseline rate. Both systems see the same resamples.

    ``errors`` (seeds, utterances), ``baseline`` (baseline seeds, utterances), ``lengths`` (utterances,).
    ``paired_seeds``: row i of both was trained with the same seed, and seeds are drawn together. Otherwise they are drawn
    independently. Raises InputError if the baseline makes no error.
    """
    errors, lengths = _checked(errors, lengths)
    baseline, _ = _checked(baseline, lengths)
    if paired_seeds and len(errors) != len(baseline):
        raise InputError(f"seeds cannot be paired: {len(errors)} of one system, {len(baseline)} of another.")
    if baseline.sum() == 0:
        raise InputError("the baseline makes no error: a relative difference to it is not defined.")
    wrong, tokens = _resampled_sums(np.concatenate([errors, baseline]), lengths, replicates, seed)
    rates = _rates(wrong[:, : len(errors)], tokens, seed, stream=1)
    theirs = _rates(wrong[:, len(errors) :], tokens, seed, stream=1 if paired_seeds else 2)
    # If the baseline makes no error in a resample: equal if the system makes none either, else infinitely worse.
    undefined = np.where(rates > 0, np.inf, 1.0)
    ratios = np.divide(rates, theirs, out=undefined, where=theirs > 0)
    value = errors.mean(axis=0).sum() / baseline.mean(axis=0).sum() - 1
    return Difference(float(value), *_bounds(ratios - 1, level))


def _checked(errors: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Float arrays (seeds, utterances) and (utterances,). Raises InputError for bad shapes and values."""
    errors, lengths = np.atleast_2d(np.asarray(errors, float)), np.asarray(lengths, float)
    if errors.ndim != 2 or lengths.shape != errors.shape[1:] or not errors.size:
        raise InputError(f"errors {errors.shape} and lengths {lengths.shape}: expected (seeds, n) and (n,).")
    if errors.min() < 0 or lengths.min() < 0 or lengths.sum() == 0:
        raise InputError("errors and lengths must not be negative, and one reference token must exist.")
    return errors, lengths


def _resampled_sums(errors: np.ndarray, lengths: np.ndarray, replicates: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums over resampled utterances: errors (replicates, seeds) and reference tokens (replicates,)."""
    rng, utterances = np.random.default_rng([seed, 0]), len(lengths)
    data = np.concatenate([errors, lengths[None]]).T  # (utterances, seeds + 1)
    rows, sums = max(1, _CHUNK // utterances), []
    for start in range(0, replicates, rows):
        chunk = min(rows, replicates - start)
        drawn = rng.integers(0, utterances, (chunk, utterances)) + utterances * np.arange(chunk)[:, None]
        times = np.bincount(drawn.ravel(), minlength=chunk * utterances)  # of each utterance in the draw
        sums.append(times.reshape(chunk, utterances).astype(float) @ data)
    joined = np.concatenate(sums)
    return joined[:, :-1], joined[:, -1]


def _rates(wrong: np.ndarray, tokens: np.ndarray, seed: int, *, stream: int) -> np.ndarray:
    """Error rates (replicates,) with the seeds resampled. An equal ``stream`` draws equal seeds."""
    replicates, seeds = wrong.shape
    rng = np.random.default_rng([seed, stream])
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), replicates)  # (replicates, seeds)
    # A draw without a reference token counts as one token, so that the rate is finite.
    return (wrong * drawn).sum(axis=1) / (seeds * np.maximum(tokens, 1))


def _bounds(values: np.ndarray, level: float) -> tuple[float, float]:
    """Bounds of the central ``level`` of the values, with equally many values outside on both sides."""
    outside = int((1 - level) / 2 * len(values))
    ordered = np.sort(values)
    return float(ordered[outside]), float(ordered[-1 - outside])
