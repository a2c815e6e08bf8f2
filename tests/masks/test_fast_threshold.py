"""The warm-started search must give what a selection over the whole tensor gives, whatever the scores do."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_s3router.masks import fast_threshold as module
from espnet_s3router.masks.fast_threshold import ThresholdSearch
from espnet_s3router.masks.select import exact_threshold


def walk(kind, steps, generator):
    """Magnitudes as they change from update to update."""
    scores = torch.randn(257, generator=generator)
    for step in range(steps):
        yield scores.abs()
        if kind == "drift":
            scores = scores + 1e-3 * torch.randn(257, generator=generator)
        elif kind == "jump":
            scores = torch.randn(257, generator=generator) * 10.0 ** (step % 5 - 2)
        elif kind == "shift":
            scores = scores * 1.3 + 0.05
        elif kind == "collapse":
            scores = scores.round() if step % 2 else torch.randn(257, generator=generator)
        elif kind == "zero":
            scores = torch.zeros(257) if step % 3 == 1 else torch.randn(257, generator=generator)


@settings(max_examples=80)
@given(
    kind=st.sampled_from(["drift", "jump", "shift", "collapse", "zero"]),
    zeros=st.lists(st.integers(0, 256), min_size=1, max_size=3),
    seed=st.integers(0, 999),
)
def test_equals_kthvalue(kind, zeros, seed):
    """``zeros`` changes too, as a sparsity ramp changes it."""
    search = ThresholdSearch()
    for step, magnitude in enumerate(walk(kind, 12, torch.Generator().manual_seed(seed))):
        wanted = zeros[step % len(zeros)]
        expected = torch.kthvalue(magnitude, wanted).values.item() if wanted else -math.inf
        assert search(magnitude, wanted) == expected


def test_slow_drift_stays_in_the_bracket(monkeypatch):
    """The search is for speed: while scores drift, whole-tensor selections must be rare."""
    sizes = []
    monkeypatch.setattr(module, "exact_threshold", lambda m, z: sizes.append(m.numel()) or exact_threshold(m, z))
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(20000, generator=generator)
    search = ThresholdSearch()
    for _ in range(50):
        search(scores, 2000)
        scores = (scores + 1e-4 * torch.randn(20000, generator=generator)).abs()
    assert len(sizes) == 50
    assert sum(size == 20000 for size in sizes) <= 5
    assert sorted(sizes)[25] < 2000


def test_nothing_to_remove_does_not_disturb_the_search():
    search = ThresholdSearch()
    magnitude = torch.arange(1.0, 9.0)
    assert search(magnitude, 3) == 3.0
    assert search(magnitude, 0) == -math.inf
    assert search(magnitude, 3) == 3.0
    assert search(magnitude, 8) == pytest.approx(8.0)
