"""Score initialisations: no dead scores, the right first mask, the right spread."""

import math

import pytest
import torch

from espnet_s3router.masks import global_masks, init_scores, init_scores_together, topk_mask
from espnet_s3router.masks.scores import COMPARABLE_INITS, INITS, unit_saliency

WEIGHTS = {
    "normal": torch.randn(24, 40, generator=torch.Generator().manual_seed(0)),
    "conv": torch.randn(8, 6, 5, generator=torch.Generator().manual_seed(1)),
    "with zeros": torch.randn(16, 16, generator=torch.Generator().manual_seed(2)).clamp_min(0.0),
    "all zero": torch.zeros(6, 7),
    "half": torch.randn(8, 8, generator=torch.Generator().manual_seed(3)).half(),
    "not contiguous": torch.randn(10, 6, generator=torch.Generator().manual_seed(4)).t(),
}

SHAPES = {"wide": (16, 64), "narrow": (64, 16), "conv": (4, 2, 8)}


def scores_of(weight, init, seed=0, **options):
    return init_scores(weight, init, generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("name", WEIGHTS)
def test_no_score_is_dead(init, name):
    """The straight-through gradient is zero at s = 0: such a connection could never come back."""
    weight = WEIGHTS[name]
    scores = scores_of(weight, init)
    assert scores.shape == weight.shape
    assert scores.dtype == torch.float32 and scores.is_contiguous()
    assert scores.isfinite().all() and (scores != 0).all()


@pytest.mark.parametrize("init", INITS)
def test_same_seed_same_scores(init):
    first, again = (scores_of(WEIGHTS["normal"], init) for _ in range(2))
    assert torch.equal(first, again)
    if init != "magnitude":
        assert not torch.equal(first, scores_of(WEIGHTS["normal"], init, seed=1))


def test_exact_zero_becomes_the_smallest_number():
    """Whatever draws an exact zero, it stays the last in the ranking, but alive."""
    scores = scores_of(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), "magnitude")
    assert (scores != 0).all() and not topk_mask(scores, 0.5)[0, 0]


@pytest.mark.parametrize("init", ["ori", "ori_sampled", "magnitude"])
@pytest.mark.parametrize("sparsity", [0.08, 0.5, 0.9])
@pytest.mark.parametrize("name", ["normal", "conv", "not contiguous"])
def test_first_mask_is_the_magnitude_mask(init, sparsity, name):
    """Order-preserving: routing starts where magnitude pruning ends."""
    weight = WEIGHTS[name].contiguous()
    assert torch.equal(topk_mask(scores_of(weight, init), sparsity), topk_mask(weight, sparsity))


@pytest.mark.parametrize("init", COMPARABLE_INITS)
@pytest.mark.parametrize("sparsity", [0.3, 0.8])
def test_first_mask_of_a_ranking_over_all_tensors(init, sparsity):
    """Whatever the shapes: a spread of its own would empty the tensor with the most inputs first."""
    weights = {name: torch.randn(shape, generator=torch.Generator().manual_seed(5)) for name, shape in SHAPES.items()}
    scores = init_scores_together(list(weights.values()), init, sparsity, generator=torch.Generator().manual_seed(0))
    assert [tensor.shape for tensor in scores] == list(SHAPES.values())
    assert all(tensor.is_contiguous() and (tensor != 0).all() for tensor in scores)
    found, wanted = global_masks(dict(zip(weights, scores)), sparsity), global_masks(weights, sparsity)
    assert all(torch.equal(found[name], wanted[name]) for name in weights)
    largest = max(tensor.abs().max() for tensor in scores)
    assert init == "magnitude" or 1 / math.sqrt(64) < largest < 1 / math.sqrt(16)


@pytest.mark.parametrize("init", ["ori", "ori_sampled"])
def test_first_mask_of_a_ranking_over_more_weights_than_float32_has_values(init):
    """Neighbouring ranks above 1/2 share a score there. The first mask is the magnitude mask all the same."""
    weight = torch.randn(5000, 4500, generator=torch.Generator().manual_seed(6))
    for sparsity in (0.6, 0.6000001):
        (scores,) = init_scores_together([weight], init, sparsity, generator=torch.Generator().manual_seed(0))
        assert torch.equal(topk_mask(scores, sparsity), topk_mask(weight, sparsity))
    if init == "ori":
        magnitudes = scores.abs().flatten()
        assert magnitudes.unique().numel() < magnitudes.numel()


def test_first_mask_where_the_scale_rounds():
    """Neighbouring floats divided by 3 become equal. Both signs, and a mask that cuts through each pair of them."""
    ladder = torch.arange(64, dtype=torch.int32).add(0x3FE00000).view(torch.float32)  # 64 floats from 1.75 upwards
    weight = ladder[torch.randperm(64, generator=torch.Generator().manual_seed(0))].view(8, 8)
    weight[::2] *= -1
    assert (weight / 3).abs().unique().numel() < 64
    for removed in range(64):
        (scores,) = init_scores_together([weight], "magnitude", removed / 64, scale=3.0)
        assert torch.equal(topk_mask(scores, removed / 64), topk_mask(weight, removed / 64)), removed
        assert torch.equal(scores.sign(), weight.sign())
        torch.testing.assert_close(scores, weight / 3, rtol=3e-7, atol=0)


def test_scores_of_units():
    """Mean magnitude of each row or column. Zeros are for scores that are ranked with their signs."""
    weight = torch.tensor([[1.0, -3.0], [0.5, 0.5], [0.0, -1.0]])
    assert unit_saliency(weight, 0).tolist() == [[2.0], [0.5], [0.5]]
    assert unit_saliency(weight, 1).tolist() == [[0.5, 1.5]]
    assert unit_saliency(torch.ones(4, 3, 2), 1).shape == (1, 3, 1)
    assert not init_scores(WEIGHTS["half"], "zeros").any() and init_scores(WEIGHTS["half"], "zeros").dtype == torch.float32


def test_scores_that_no_ranking_can_compare():
    with pytest.raises(ValueError, match="'kaiming_uniform', expected one of ori, ori_sampled, magnitude"):
        init_scores_together([torch.ones(2, 2)], "kaiming_uniform", 0.5)


@pytest.mark.parametrize("init", INITS)
def test_scale_divides_the_scores(init):
    """Over the learning rate it decides how fast masks change, whatever they began with."""
    assert torch.equal(scores_of(WEIGHTS["normal"], init, scale=4.0), scores_of(WEIGHTS["normal"], init) / 4)


def test_ori_closed_form():
    """|s| = (rank + 1/2) / N / sqrt(fan_in): evenly spread, in the order of |W|, signs at random."""
    weight = WEIGHTS["normal"]
    scores = scores_of(weight, "ori")
    rank = weight.abs().flatten().argsort().argsort().view(weight.shape)
    torch.testing.assert_close(scores.abs(), (rank + 0.5) / weight.numel() / math.sqrt(40))
    assert 0.4 < (scores > 0).float().mean() < 0.6
    assert not torch.equal(scores > 0, weight > 0)


def test_ori_sampled_is_uniform():
    scores = scores_of(torch.randn(200, 100), "ori_sampled").abs() * math.sqrt(100)
    assert scores.max() < 1.0
    assert scores.mean() == pytest.approx(0.5, abs=0.01) and scores.std() == pytest.approx(12**-0.5, abs=0.01)


def test_magnitude_keeps_sign_and_scale():
    weight = WEIGHTS["normal"]
    torch.testing.assert_close(scores_of(weight, "magnitude", scale=4.0), weight / 4.0)


@pytest.mark.parametrize(
    ("init", "std"),
    [
        ("kaiming_normal", math.sqrt(2 / 300)),
        ("xavier_normal", math.sqrt(2 / 500)),
        ("kaiming_uniform", 1 / math.sqrt(3 * 300)),
        ("xavier_uniform", math.sqrt(2 / 500)),
    ],
)
def test_spread(init, std):
    """A weight of 200 outputs and 300 inputs."""
    scores = scores_of(torch.randn(200, 300), init)
    assert scores.std().item() == pytest.approx(std, rel=0.02)
    assert scores.mean().item() == pytest.approx(0.0, abs=0.02 * std)


def test_xavier_normal_is_normal():
    """The authors' ``xavier_normal`` calls the uniform one: a normal has tails and a kurtosis of 3, a uniform 1.8."""
    scores = scores_of(torch.randn(200, 300), "xavier_normal")
    standard = scores / scores.std()
    assert (standard**4).mean().item() == pytest.approx(3.0, abs=0.15)
    assert standard.abs().max() > 3.5


@pytest.mark.parametrize(
    ("init", "bound"), [("kaiming_uniform", 1 / math.sqrt(300)), ("xavier_uniform", math.sqrt(6 / 500))]
)
def test_uniform_bounds(init, bound):
    scores = scores_of(torch.randn(200, 300), init)
    assert scores.abs().max() <= bound and scores.abs().max() > 0.99 * bound
    assert scores.min() < -0.99 * bound


def test_conv_fans_count_the_kernel():
    weight = torch.randn(64, 32, 5)
    assert scores_of(weight, "kaiming_uniform").abs().max() <= 1 / math.sqrt(32 * 5)
    assert scores_of(weight, "xavier_uniform").abs().max() <= math.sqrt(6 / ((32 + 64) * 5))


def test_constant_has_one_magnitude():
    scores = scores_of(WEIGHTS["normal"], "constant")
    assert scores.abs().unique().numel() == 1 and scores.unique().numel() == 2


def test_refused():
    with pytest.raises(ValueError, match="xavier_normal"):
        init_scores(torch.ones(2, 2), "zero")
    with pytest.raises(ValueError, match="above 0"):
        init_scores(torch.ones(2, 2), "magnitude", scale=0.0)
