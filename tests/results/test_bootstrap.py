"""Bootstrap intervals against cases whose distribution is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_s3router.errors import InputError
from espnet_s3router.results.bootstrap import Difference, error_rate_interval, relative_difference


def binomial_quantile(q, n, p):
    total = 0.0
    for k in range(n + 1):
        total += math.comb(n, k) * p**k * (1 - p) ** (n - k)
        if total >= q:
            return k


@pytest.mark.parametrize(("n", "wrong"), [(50, 10), (200, 30)])
def test_one_token_utterances_are_binomial(n, wrong):
    errors = np.arange(n) < wrong
    found = error_rate_interval(errors, np.ones(n))
    assert found.value == wrong / n
    assert n * found.low == pytest.approx(binomial_quantile(0.025, n, wrong / n), abs=1.01)
    assert n * found.high == pytest.approx(binomial_quantile(0.975, n, wrong / n), abs=1.01)


def test_coverage():
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        errors = rng.binomial(20, 0.3, 80)  # 80 utterances of 20 tokens
        found = error_rate_interval(errors, np.full(80, 20), replicates=400, seed=trial)
        hits += found.low <= 0.3 <= found.high
    assert 0.9 <= hits / 200 <= 0.99


def test_rate_is_pooled_over_tokens_not_averaged_over_utterances():
    assert error_rate_interval([1, 0], [1, 9]).value == 0.1
    assert error_rate_interval([[1, 0], [3, 0]], [1, 9]).value == 0.2


def test_seeds_are_resampled():
    errors = np.array([np.zeros(30), np.ones(30)])  # every draw gives 0, 1/2 or 1: 1/4, 1/2, 1/4
    found = error_rate_interval(errors, np.ones(30))
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)
    narrow = error_rate_interval(errors, np.ones(30), level=0.4)
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_equal_seeds_are_no_new_evidence():
    errors = np.arange(60) % 7 == 0
    assert error_rate_interval([errors] * 3, np.ones(60)) == error_rate_interval(errors, np.ones(60))


def test_same_seed_same_interval():
    errors, lengths = np.arange(40) % 5, np.full(40, 9)
    assert error_rate_interval(errors, lengths) == error_rate_interval(errors, lengths)
    assert error_rate_interval(errors, lengths) != error_rate_interval(errors, lengths, seed=1)


def test_chunks_change_nothing(monkeypatch):
    errors, lengths = np.arange(40) % 5, np.full(40, 9)
    whole = error_rate_interval([errors, errors // 2], lengths)
    monkeypatch.setattr("espnet_s3router.results.bootstrap._CHUNK", 40 * 333)
    assert error_rate_interval([errors, errors // 2], lengths) == whole


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6)), min_size=1, max_size=30))
@settings(max_examples=40)
def test_bounds_enclose_nothing_impossible(pairs):
    errors, lengths = np.array(pairs).T
    found = error_rate_interval(errors, lengths, replicates=200)
    rates = errors / lengths
    assert rates.min() - 1e-9 <= found.low <= found.high <= rates.max() + 1e-9


def test_proportional_systems_have_an_exact_difference():
    baseline = np.random.default_rng(0).integers(1, 9, (3, 50)) * 2
    found = relative_difference(baseline / 2, baseline, np.full(50, 20))
    assert (found.value, found.low, found.high) == (-0.5, -0.5, -0.5)
    assert found.better
    assert found.no_worse
    assert found.verdict == "better"


def test_equal_systems():
    errors = np.arange(50) % 3
    found = relative_difference(errors, errors, np.full(50, 4))
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert not found.better
    assert not found.worse
    assert found.verdict == "at most 5 % worse"


def test_pairing_removes_what_utterances_share():
    rng = np.random.default_rng(0)
    hard = rng.integers(0, 40, 200)  # errors differ much between utterances, little between systems
    paired = relative_difference(hard + rng.integers(0, 2, 200), hard + 1, np.full(200, 60))
    rates = error_rate_interval(hard + 1, np.full(200, 60))
    assert paired.high - paired.low < 0.2 * (rates.high - rates.low) / rates.value


def test_unpaired_seeds_are_drawn_apart():
    errors = np.array([np.ones(30), np.full(30, 3)])  # totals of a draw are 1, 2 or 3
    paired = relative_difference(errors, errors, np.full(30, 5))
    assert (paired.low, paired.high) == (0, 0)
    apart = relative_difference(errors, errors, np.full(30, 5), paired_seeds=False)
    assert (apart.low, apart.high) == pytest.approx((1 / 3 - 1, 3 - 1))
    assert relative_difference(errors, errors[:1], np.full(30, 5), paired_seeds=False).value == 1
    with pytest.raises(InputError, match="cannot be paired"):
        relative_difference(errors, errors[:1], np.full(30, 5))


def test_resamples_in_which_the_baseline_makes_no_error():
    baseline, system = np.eye(1, 20)[0], np.ones(20)
    found = relative_difference(system, baseline, np.ones(20))
    assert found.value == pytest.approx(19)
    assert found.high == math.inf
    assert relative_difference(baseline, baseline, np.ones(20)).high == 0


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.3, -0.01, "better"),
        (-0.3, 0.04, "at most 5 % worse"),
        (0.01, 0.04, "at most 5 % worse"),
        (-0.3, 0.05, "inconclusive"),
        (0.01, 0.06, "worse"),
    ],
)
def test_verdicts_of_the_contract(low, high, verdict):
    assert Difference((low + high) / 2, low, high).verdict == verdict


@pytest.mark.parametrize(("errors", "lengths"), [([1, 2], [1]), ([], []), ([1], [0]), ([-1], [1]), ([[[1]]], [1])])
def test_bad_shapes_and_values(errors, lengths):
    with pytest.raises(InputError):
        error_rate_interval(errors, lengths)


def test_baseline_without_error():
    with pytest.raises(InputError, match="no error"):
        relative_difference([1, 0], [0, 0], [1, 1])
