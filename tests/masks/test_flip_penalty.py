"""The penalty on flips: its step is that of the straight-through gradient, and it holds a mask near the first one."""

import pytest
import torch
from torch import nn

from espnet_s3router.masks import MaskedTensor, Site, TopK, init_scores, inject, topk_mask
from espnet_s3router.masks.flip_penalty import favour_first_mask
from espnet_s3router.masks.ranking import SignedTopK
from espnet_s3router.routes import buckets


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_is_the_gradient_of_the_number_of_flips():
    """With m = |s| (the estimator) the term is sum_i |m_i - m_i(0)|; within (0, 1) its gradient is known to autograd."""
    scores = draw(6, 8).clamp(-0.9, 0.9).requires_grad_()
    first = topk_mask(scores, 0.3)
    (scores.abs() - first.float()).abs().sum().backward()
    expected = scores.detach() - 0.01 * scores.grad
    moved = scores.detach().clone()
    favour_first_mask(moved, first, 0.01)
    torch.testing.assert_close(moved, expected)


def test_no_score_crosses_zero():
    """At zero a score would have no gradient."""
    scores = torch.tensor([0.1, -0.1, 0.5, -0.5])
    favour_first_mask(scores, torch.tensor([False, False, True, True]), 0.2)
    assert (scores != 0).all() and scores.sign().tolist() == [1, -1, 1, -1]
    assert scores[:2].abs().max() < 1e-30
    torch.testing.assert_close(scores[2:], torch.tensor([0.7, -0.7]))


def test_signed_scores_move_themselves():
    scores = torch.tensor([0.1, -0.1, -0.5])
    favour_first_mask(scores, torch.tensor([False, True, True]), 0.2, signed=True)
    torch.testing.assert_close(scores, torch.tensor([-0.1, 0.1, -0.3]))


def trained_mask(penalty, signed=False, updates=60, rate=0.01):
    """(first mask, last mask, weight) of a matrix that learns to remove the weights that another one lacks."""
    weight = draw(64, 128)
    linear = nn.Linear(128, 64, bias=False).requires_grad_(False)
    with torch.no_grad():
        linear.weight.copy_(weight)
    target = weight * topk_mask(draw(64, 128, seed=1), 0.1)
    scores = torch.zeros_like(weight) if signed else init_scores(weight, "ori")
    masked = MaskedTensor(scores, (SignedTopK if signed else TopK)(0.1), estimator="signed" if signed else "magnitude")
    inject(Site(name="weight", module=linear, tensor="weight"), masked)
    first, adam = masked.mask.clone(), torch.optim.Adam([masked.scores], lr=rate, betas=(0.9, 0.98))
    for update in range(updates):
        x = draw(32, 128, seed=100 + update)
        adam.zero_grad()
        (linear(x) - x @ target.t()).square().mean().backward()
        adam.step()
        with torch.no_grad():
            favour_first_mask(masked.scores, first, penalty * rate, signed=signed)
    return first, masked.mask, weight


@pytest.mark.parametrize("signed", [False, True])
def test_one_keeps_the_first_mask(signed):
    first, last, _ = trained_mask(1.0, signed)
    assert torch.equal(first, last)
    first, last, _ = trained_mask(0.0, signed)
    assert (first != last).float().mean() > 0.05


def test_bytes_under_the_magnitude_prior_fall_with_the_penalty():
    sizes, flips = [], []
    for penalty in (0.0, 0.2, 0.4, 0.6, 1.0):
        first, last, weight = trained_mask(penalty)
        sizes.append(len(buckets.encode((~last).numpy().reshape(-1), weight)))
        flips.append(int((first != last).sum()))
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 5, sizes
    assert flips == sorted(flips, reverse=True) and flips[-1] == 0, flips
