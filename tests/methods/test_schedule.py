"""The sparsity as a function of the update."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_s3router.methods.schedule import Ramp, Rounds, rounds_of


@given(
    target=st.floats(0, 0.99),
    share=st.floats(0, 1),
    begin=st.integers(0, 50),
    length=st.integers(1, 100),
    interval=st.integers(1, 40),
    kind=st.sampled_from(["linear", "cubic"]),
)
def test_ramp(target, share, begin, length, interval, kind):
    """It never falls, stays within its ends, and equals the target from ``end``, where the run always prunes."""
    end = begin + length
    ramp = Ramp(target=target, kind=kind, initial=share * target, begin=begin, end=end, interval=interval)
    values = [ramp.at(update) for update in range(end + 3)]
    assert all(first <= second for first, second in zip(values, values[1:]))
    assert values[0] == values[begin] == pytest.approx(share * target) and values[end:] == [target] * 3
    due = [update for update in range(1, end + 3 * interval) if ramp.due(update)]
    assert due[-1] == end and ramp.last == end
    assert all(update % interval == 0 and update > begin for update in due[:-1])


def test_values_of_a_ramp():
    """A tenth of the way: linear a tenth of the rise, cubic 1 - 0.9 ** 3 of it (arXiv 1710.01878 eq. 1)."""
    options = {"target": 0.8, "initial": 0.2, "begin": 100, "end": 200}
    assert Ramp(kind="linear", **options).at(110) == pytest.approx(0.26)
    assert Ramp(kind="cubic", **options).at(110) == pytest.approx(0.2 + 0.6 * 0.271)


def test_constant():
    once, again = Ramp(target=0.5, interval=10), Ramp(target=0.5, interval=10, repeats=True)
    assert once.at(0) == again.at(0) == 0.5 and once.last == again.last == 0
    assert not any(once.due(update) for update in range(1, 100))
    assert [update for update in range(1, 100) if again.due(update)] == list(range(10, 100, 10))


def test_repeated_pruning_goes_on_after_the_ramp():
    ramp = Ramp(target=0.5, kind="linear", begin=5, end=25, interval=10, repeats=True)
    assert [update for update in range(1, 51) if ramp.due(update)] == [10, 20, 25, 30, 40, 50]


def test_without_an_interval_only_the_end_of_the_ramp_prunes():
    ramp = Ramp(target=0.5, kind="linear", end=25, interval=None, repeats=True)
    assert [update for update in range(1, 51) if ramp.due(update)] == [25]


@pytest.mark.parametrize(
    ("target", "sparsities"),
    [
        (0.3, [0.0, 0.1, 0.2, 0.3]),
        (0.8, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]),
        (0.25, [0.0, 0.1, 0.2, 0.25]),
        (0.05, [0.0, 0.05]),
    ],
)
def test_rounds_of_ten_points(target, sparsities):
    """As PARP's code: train the dense model, remove ten points more of all weights, and so on."""
    rounds = rounds_of(target, 0.1)
    plan = Rounds(target=target, rounds=rounds, updates=10 * rounds, step=0.1)
    assert [plan.at(update) for update in range(0, 10 * rounds, 10)] == pytest.approx(sparsities)
    assert plan.at(10 * rounds) == target


@given(target=st.floats(0.01, 0.99), rounds=st.integers(1, 6), updates=st.integers(6, 200))
def test_rounds(target, rounds, updates):
    """Rounds differ by at most one update, keep the same share of the remaining weights, and end at the target."""
    plan = Rounds(target=target, rounds=rounds, updates=updates)
    due = [update for update in range(1, updates + 1) if plan.due(update)]
    lengths = [after - before for before, after in zip([0, *due], [*due, updates])]
    assert len(lengths) == rounds and max(lengths) - min(lengths) <= 1
    left = [1 - plan.at(update) for update in (0, *due)]
    assert left == pytest.approx([(1 - target) ** (index / rounds) for index in range(1, rounds + 1)])
    assert plan.at(updates) == target and plan.last == (due[-1] if due else 0)
