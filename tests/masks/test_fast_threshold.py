"""The fast paths give exactly what the pure functions give, for any scores."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_s3router.masks import fast_threshold as module
from espnet_s3router.masks import global_masks, topk_mask, zero_count
from espnet_s3router.masks.fast_threshold import (
    ThresholdSearch,
    fast_global_masks,
    fast_topk_mask,
    fits_scratch,
    global_threshold,
    magnitudes,
    sampled_bracket,
)
from espnet_s3router.masks.select import ROUNDINGS, exact_threshold

SIZE = 257


def walk(kind, steps, generator, size=SIZE):
    """Scores as they change from update to update."""
    scores = torch.randn(size, generator=generator)
    for step in range(steps):
        yield scores
        if kind == "drift":
            scores = scores + 1e-3 * torch.randn(size, generator=generator)
        elif kind == "jump":
            scores = torch.randn(size, generator=generator) * 10.0 ** (step % 5 - 2)
        elif kind == "shift":
            scores = scores.abs() * 1.3 + 0.05
        elif kind == "collapse":
            scores = scores.round() if step % 2 else torch.randn(size, generator=generator)
        elif kind == "zero":
            scores = torch.zeros(size) if step % 3 == 1 else torch.randn(size, generator=generator)


def tensors(kind, sizes, seed):
    """Flat tensors of several awkward kinds."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(size, generator=generator) for size in sizes]
    if kind == "pruned":
        return [values * (values.abs() > 0.7) for values in drawn]
    if kind == "ties":
        return [values.round() for values in drawn]
    if kind == "scales":  # a sample of one tensor says nothing about another
        return [values * 10.0**index for index, values in enumerate(drawn)]
    if kind == "sorted":  # evenly spaced entries are not representative
        return [values.sort().values for values in drawn]
    return drawn


@pytest.fixture
def selected_from(monkeypatch):
    """Sizes of the tensors that exact selections run over."""
    sizes = []
    monkeypatch.setattr(module, "exact_threshold", lambda m, z: sizes.append(m.numel()) or exact_threshold(m, z))
    return sizes


@settings(max_examples=80)
@given(
    kind=st.sampled_from(["drift", "jump", "shift", "collapse", "zero"]),
    zeros=st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=3),
    seed=st.integers(0, 999),
)
def test_search_equals_kthvalue(kind, zeros, seed):
    """``zeros`` changes too, as a sparsity ramp changes it."""
    search = ThresholdSearch()
    for step, scores in enumerate(walk(kind, 12, torch.Generator().manual_seed(seed))):
        number = zeros[step % len(zeros)]
        expected = torch.kthvalue(scores.abs(), number).values.item() if number else -math.inf
        assert search(scores.abs(), number) == expected


@settings(max_examples=80)
@given(
    kind=st.sampled_from(["drift", "jump", "shift", "collapse", "zero"]),
    sparsities=st.lists(st.floats(0.0, 0.999), min_size=1, max_size=3),
    rounding=st.sampled_from(ROUNDINGS),
    size=st.sampled_from([1, 8, 64, SIZE]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16]),
    seed=st.integers(0, 999),
)
def test_fast_topk_mask_is_the_pure_one(kind, sparsities, rounding, size, dtype, seed):
    search = ThresholdSearch()
    for step, scores in enumerate(walk(kind, 12, torch.Generator().manual_seed(seed), size)):
        scores, sparsity = scores.to(dtype), sparsities[step % len(sparsities)]
        assert torch.equal(fast_topk_mask(scores, sparsity, rounding, search), topk_mask(scores, sparsity, rounding))


@settings(max_examples=100)
@given(
    kind=st.sampled_from(["normal", "pruned", "ties", "scales", "sorted"]),
    sizes=st.lists(st.integers(1, 400), max_size=4),
    sparsity=st.floats(0.0, 0.999),
    rounding=st.sampled_from(ROUNDINGS),
    seed=st.integers(0, 999),
)
def test_fast_global_masks_are_the_pure_ones(kind, sizes, sparsity, rounding, seed):
    scores = {str(index): tensor for index, tensor in enumerate(tensors(kind, sizes, seed))}
    fast, pure = (select(scores, sparsity, rounding) for select in (fast_global_masks, global_masks))
    assert fast.keys() == pure.keys() and all(torch.equal(fast[name], pure[name]) for name in pure)


def test_fast_paths_refuse_non_finite_scores():
    scores = torch.ones(4, 4)
    scores[1, 2] = float("nan")
    for select in (
        lambda: fast_topk_mask(scores, 0.1, "nearest", ThresholdSearch()),
        lambda: fast_global_masks({"a": torch.ones(2), "b": scores}, 0.1),
    ):
        with pytest.raises(ValueError, match="1 of 16 scores are not finite"):
            select()


def test_slow_drift_stays_in_the_bracket(selected_from):
    """While scores drift, selections over the whole tensor must be rare."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(20000, generator=generator)
    search = ThresholdSearch()
    for _ in range(50):
        search(scores, 2000)
        scores = (scores + 1e-4 * torch.randn(20000, generator=generator)).abs()
    assert len(selected_from) == 50
    assert sum(size == 20000 for size in selected_from) <= 5
    assert sorted(selected_from)[25] < 2000


def test_nothing_to_remove_does_not_disturb_the_search():
    search = ThresholdSearch()
    magnitude = torch.arange(1.0, 9.0)
    assert search(magnitude, 3) == 3.0
    assert search(magnitude, 0) == -math.inf
    assert search(magnitude, 3) == 3.0
    assert search(magnitude, 8) == pytest.approx(8.0)


@settings(max_examples=150)
@given(
    kind=st.sampled_from(["normal", "pruned", "ties", "scales", "sorted"]),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=4),
    share=st.floats(0, 1),
    sample=st.sampled_from([1, 10, 100, 10**6]),
    seed=st.integers(0, 999),
)
def test_global_threshold_equals_kthvalue(kind, sizes, share, sample, seed):
    """However small the sample."""
    flats = tensors(kind, sizes, seed)
    zeros = int(share * sum(sizes))
    expected = torch.cat(flats).abs().kthvalue(zeros).values.item() if zeros else -math.inf
    assert global_threshold(flats, zeros, sample) == expected


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_global_selection_runs_over_the_few_inside_the_bracket(share, selected_from):
    generator = torch.Generator().manual_seed(0)
    flats = [torch.randn(50000, generator=generator) for _ in range(4)]
    threshold = global_threshold(flats, int(share * 200000), sample=20000)
    assert max(selected_from) <= 25000
    low, high = sampled_bracket(flats, int(share * 200000), 20000)
    assert low <= threshold <= high


def test_what_fits_the_scratch_memory():
    """Float32 on the CPU, and few enough for an exact sum of ones: below 2 ** 24."""
    assert fits_scratch(torch.zeros(1).expand(2**24 - 1))
    assert not fits_scratch(torch.zeros(1).expand(2**24))
    assert not fits_scratch(torch.zeros(4, dtype=torch.float64)) and not fits_scratch(torch.zeros(4, device="meta"))


def test_bracket_is_six_standard_deviations_wide():
    """Of 10,000 magnitudes all are sampled, and 3,000 are to go: ranks 3,000 -+ (6 sqrt(10,000 * 0.3 * 0.7) + 1)."""
    flat = torch.arange(1, 10001, dtype=torch.float32)
    assert sampled_bracket([flat], 3000, 10000) == (2724.0, 3276.0)
    assert sampled_bracket([flat[::2], -flat[1::2]], 3000, 10000) == (2724.0, 3276.0)
    assert sampled_bracket([flat], 1, 10000)[0] == 0.0 and sampled_bracket([flat], 9999, 10000)[1] == math.inf


def test_pruned_tensors_are_pruned_again_without_a_search(selected_from):
    """The usual case at the end of an epoch: half of all weights are zero already, and half are to go."""
    flats = tensors("normal", [50000, 30000], 0)
    masks = global_masks({"a": flats[0], "b": flats[1]}, 0.5)
    pruned = [flats[0] * masks["a"], flats[1] * masks["b"]]
    assert global_threshold(pruned, zero_count(80000, 0.5), sample=2000) == 0.0
    assert max(selected_from) <= 4000  # the sample alone


def test_threads_do_not_share_scratch_memory():
    """Two models may decode at the same time in one process."""
    ours = magnitudes(torch.ones(5))
    with ThreadPoolExecutor(1) as other:
        other.submit(magnitudes, torch.zeros(5)).result()
    assert ours.tolist() == [1.0] * 5


def test_selection_after_one_in_inference_mode():
    """Scratch memory outlives the mode in which it was made."""
    size = 1000

    def both():
        select = lambda: fast_topk_mask(torch.arange(float(size)), 0.5, "nearest", ThresholdSearch())  # noqa: E731
        with torch.inference_mode():
            select()
        return select()

    with ThreadPoolExecutor(1) as fresh:
        assert int(fresh.submit(both).result().sum()) == size // 2
