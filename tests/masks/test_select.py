"""Exact counts, ties, rounding, and the patterns a mask may have."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from espnet_s3router.masks import global_masks, nm_mask, topk_mask, unit_mask, zero_count

SHAPES = st.lists(st.integers(1, 12), min_size=1, max_size=3)
SPARSITIES = st.floats(0.0, 0.999, allow_nan=False)
KINDS = ("normal", "ties", "equal", "zeros", "tiny")


def make_scores(shape, kind, seed):
    """Random scores of several awkward kinds."""
    generator = torch.Generator().manual_seed(seed)
    if kind == "equal":
        return torch.full(shape, -0.25)
    if kind == "zeros":
        return torch.zeros(shape)
    if kind == "ties":
        return torch.randint(-2, 3, shape, generator=generator).float()
    scale = 1e-40 if kind == "tiny" else 1.0  # denormal numbers
    return torch.randn(shape, generator=generator) * scale


def by_full_sort(scores, zeros):
    """What the mask must be: a stable full sort of |s|, the first ``zeros`` removed."""
    flat = scores.abs().flatten()
    mask = torch.ones(flat.numel(), dtype=torch.bool)
    mask[flat.sort(stable=True).indices[:zeros]] = False
    return mask.view(scores.shape)


@settings(max_examples=150)
@given(shape=SHAPES, sparsity=SPARSITIES, kind=st.sampled_from(KINDS), seed=st.integers(0, 99))
def test_count_is_exact_and_the_smallest_go(shape, sparsity, kind, seed):
    """A mask with one bit too many, or another order among ties, is another route."""
    scores = make_scores(shape, kind, seed)
    mask = topk_mask(scores, sparsity)
    zeros = min(math.floor(sparsity * scores.numel() + 0.5), scores.numel() - 1)
    assert mask.dtype == torch.bool and mask.shape == scores.shape
    assert int((~mask).sum()) == zeros
    assert torch.equal(mask, by_full_sort(scores, zeros))
    assert torch.equal(mask, topk_mask(scores.clone(), sparsity))


@settings(max_examples=150)
@given(shape=SHAPES, sparsity=SPARSITIES, kind=st.sampled_from(KINDS), seed=st.integers(0, 99))
def test_reference_rounding_is_the_authors_rule(shape, sparsity, kind, seed):
    """S3-Router's code: sort |s|, zero the first int((1 - k) * N), k being the share kept."""
    scores = make_scores(shape, kind, seed)
    keep = 1 - sparsity
    out = scores.abs().clone()
    flat = out.flatten()
    _, order = out.flatten().sort(stable=True)
    cut = int((1 - keep) * out.numel())
    flat[order[:cut]] = 0
    flat[order[cut:]] = 1
    assert torch.equal(topk_mask(scores, sparsity, "reference"), flat.view(scores.shape).bool())


def test_reference_rounding_differs_from_nearest():
    """Both must really exist: int() cuts where floor(x + 1/2) rounds up, and floats lose one at 0.1 of 30."""
    assert zero_count(7, 0.5) == 4 and zero_count(7, 0.5, "reference") == 3
    assert zero_count(10, 0.3, "reference") == int((1 - (1 - 0.3)) * 10)
    assert zero_count(30, 0.1, "reference") == 2 and zero_count(30, 0.1) == 3


@pytest.mark.parametrize(
    ("numel", "sparsity", "nearest", "reference"),
    [
        (10, 0.0, 0, 0),
        (10, 0.08, 1, 0),
        (3, 0.5, 2, 1),  # a half is rounded up
        (5, 0.5, 3, 2),
        (4, 0.99, 3, 3),  # one entry stays
        (1, 0.9, 0, 0),
        (0, 0.5, 0, 0),
        (30, 0.1, 3, 2),  # 1 - (1 - 0.1) is below 0.1
        (589824, 0.08, 47186, 47185),  # 47185.92, an attention matrix of wav2vec 2.0 base
        (2359296, 0.1, 235930, 235929),  # 235929.6, a feed-forward matrix of it
        (2359296, 0.12, 283116, 283115),  # 283115.52
    ],
)
def test_counts_worked_out_by_hand(numel, sparsity, nearest, reference):
    assert zero_count(numel, sparsity) == nearest
    assert zero_count(numel, sparsity, "reference") == reference


@given(keep=st.floats(0.001, 1.0), numel=st.integers(1, 10**7))
@example(keep=0.93, numel=1638400)
def test_the_authors_count_for_any_share_kept(keep, numel):
    """A sparsity of 1 - keep, as floats compute it, has the count of their ``int((1 - keep) * numel)``."""
    assert zero_count(numel, 1.0 - keep, "reference") == int((1 - keep) * numel)


def test_signed_ranking_removes_the_most_negative():
    """Movement pruning's top-v (arXiv 2005.07683 sec. 3): signs count."""
    scores = torch.tensor([[-3.0, 0.5], [2.0, -0.1]])
    assert topk_mask(scores, 0.5, signed=True).tolist() == [[False, True], [True, False]]
    assert topk_mask(scores, 0.5).tolist() == [[True, False], [True, False]]
    assert topk_mask(torch.zeros(2, 2), 0.5, signed=True).tolist() == [[False, False], [True, True]]


def test_ties_go_by_index():
    mask = topk_mask(torch.tensor([[1.0, -1.0], [1.0, 1.0]]), 0.5)
    assert mask.tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize("rounding", ["nearest", "reference"])
def test_non_contiguous_scores(rounding):
    """The authors' code gives a mask that is not binary here."""
    scores = torch.randn(9, 6).t()
    assert not scores.is_contiguous()
    assert torch.equal(topk_mask(scores, 0.3, rounding), topk_mask(scores.contiguous(), 0.3, rounding))


def test_one_element_is_never_removed():
    assert topk_mask(torch.tensor([[0.0]]), 0.99).all()
    assert topk_mask(torch.tensor([3.0]), 0.5).all()


def test_sparsity_zero_keeps_all():
    assert topk_mask(torch.zeros(4, 4), 0.0).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_scores_are_refused(bad):
    scores = torch.randn(4, 4)
    scores[1, 2] = bad
    for select in (
        lambda: topk_mask(scores, 0.1),
        lambda: nm_mask(scores, 2, 4),
        lambda: unit_mask(scores, 0.25),
        lambda: global_masks({"a": torch.ones(2), "b": scores}, 0.1),
    ):
        with pytest.raises(ValueError, match="1 of 16 scores are not finite"):
            select()


def test_large_finite_scores_are_not_refused():
    """Their sum overflows, they themselves do not."""
    assert int(topk_mask(torch.full((4, 4), 3e38), 0.5).sum()) == 8


@pytest.mark.parametrize("sparsity", [-0.01, 1.0, 1.5, float("nan")])
def test_sparsity_outside_its_range(sparsity):
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        zero_count(10, sparsity)


def test_unknown_rounding():
    with pytest.raises(ValueError, match="nearest, reference"):
        zero_count(10, 0.1, "up")


@settings(max_examples=60)
@given(
    pattern=st.sampled_from([(1, 2), (2, 4), (4, 8), (1, 4), (3, 4), (4, 4)]),
    rows=st.integers(1, 6),
    groups=st.integers(1, 5),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 99),
)
def test_n_of_m(pattern, rows, groups, kind, seed):
    """Exactly N of every M neighbours along the input dimension, and the largest of them."""
    keep, group = pattern
    scores = make_scores((rows, groups * group), kind, seed)
    mask = nm_mask(scores, keep, group)
    kept = mask.view(-1, group)
    assert (kept.sum(1) == keep).all()
    for magnitudes, bits in zip(scores.abs().view(-1, group), kept):
        assert torch.equal(bits, by_full_sort(magnitudes, group - keep))


def test_n_of_m_errors():
    with pytest.raises(ValueError, match="multiple of M=4"):
        nm_mask(torch.ones(2, 6), 2, 4)
    with pytest.raises(ValueError, match="0 < N <= M"):
        nm_mask(torch.ones(2, 4), 5, 4)


@pytest.mark.parametrize(("dim", "shape"), [(0, (8, 5)), (1, (5, 8)), (0, (8, 3, 2)), (1, (3, 8, 2))])
def test_units(dim, shape):
    """Whole slices fall, those of the smallest mean magnitude."""
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    mask = unit_mask(scores, 0.25, dim)
    slices = mask.movedim(dim, 0).flatten(1)
    assert (slices.all(1) | ~slices.any(1)).all()
    saliency = scores.abs().movedim(dim, 0).flatten(1).mean(1)
    assert set((~slices.any(1)).nonzero().flatten().tolist()) == set(saliency.argsort()[:2].tolist())


@settings(max_examples=60)
@given(
    shapes=st.lists(SHAPES, min_size=1, max_size=4),
    sparsity=SPARSITIES,
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 99),
)
def test_global_ranking(shapes, sparsity, kind, seed):
    """One ranking over all tensors: the count is exact over their union, not over each."""
    scores = {str(index): make_scores(shape, kind, seed + index) for index, shape in enumerate(shapes)}
    masks = global_masks(scores, sparsity)
    union = torch.cat([tensor.flatten() for tensor in scores.values()])
    expected = by_full_sort(union, zero_count(union.numel(), sparsity))
    assert torch.equal(torch.cat([mask.flatten() for mask in masks.values()]), expected)
    assert {name: mask.shape for name, mask in masks.items()} == {name: s.shape for name, s in scores.items()}


def test_global_ranking_of_nothing():
    assert global_masks({}, 0.1) == {}
