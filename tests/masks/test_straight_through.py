"""The straight-through estimator against formulas written by hand."""

import pytest
import torch

from espnet_s3router.masks.straight_through import StraightThrough


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 7, generator=generator, requires_grad=True)
    scores = torch.randn(5, 7, generator=generator, requires_grad=True)
    mask = torch.rand(5, 7, generator=generator) > 0.4
    upstream = torch.randn(5, 7, generator=generator)
    return weight, scores, mask, upstream


def test_forward_is_the_product(tensors):
    weight, scores, mask, _ = tensors
    out = StraightThrough.apply(weight, scores, mask, False)
    assert torch.equal(out, torch.where(mask, weight, torch.zeros(())))
    assert out.dtype == weight.dtype


@pytest.mark.parametrize("dense", [False, True])
def test_gradients(tensors, dense):
    """dL/ds = sign(s) W g for kept and removed connections alike; dL/dW = g on kept ones, or everywhere if dense."""
    weight, scores, mask, upstream = tensors
    (StraightThrough.apply(weight, scores, mask, dense) * upstream).sum().backward()
    sign = (scores.detach() > 0).float() - (scores.detach() < 0).float()
    torch.testing.assert_close(scores.grad, sign * weight.detach() * upstream)
    torch.testing.assert_close(weight.grad, upstream if dense else upstream * mask)
    assert (scores.grad[~mask] != 0).all()


def test_sigmoid_is_that_of_the_authors_code(tensors):
    """S3-Router's option ste_sigmoid: the mask is (M - sigmoid(|s|)).detach() + sigmoid(|s|)."""
    weight, scores, mask, upstream = tensors
    gate = torch.sigmoid(scores.abs())
    (expected,) = torch.autograd.grad((weight * ((mask.float() - gate).detach() + gate) * upstream).sum(), scores)
    out = StraightThrough.apply(weight, scores, mask, False, "sigmoid")
    assert torch.equal(out, weight * mask)
    (found,) = torch.autograd.grad((out * upstream).sum(), scores)
    torch.testing.assert_close(found, expected)
    assert (found != 0).all()


def test_signed_is_equation_2_of_movement_pruning(tensors):
    """dL/dS = dL/dW_eff * W for kept and removed weights alike, whatever the sign of S; dL/dW is masked."""
    weight, scores, mask, upstream = tensors
    (StraightThrough.apply(weight, scores, mask, False, "signed") * upstream).sum().backward()
    torch.testing.assert_close(scores.grad, upstream * weight.detach())
    torch.testing.assert_close(weight.grad, upstream * mask)


@pytest.mark.parametrize("shape", [(5, 1), (1, 7)])
@pytest.mark.parametrize("estimator", ["magnitude", "sigmoid", "signed"])
def test_the_score_of_a_unit_gets_the_sum_of_its_gradients(tensors, shape, estimator):
    """As autograd does for the authors' layers, whose scores (outputs, 1) or (1, inputs) are broadcast."""
    weight, _, mask, upstream = tensors
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(3), requires_grad=True)
    each = scores.detach().expand(5, 7).contiguous().requires_grad_()
    for leaf in (scores, each):
        (StraightThrough.apply(weight, leaf, mask, False, estimator) * upstream).sum().backward()
    assert scores.grad.shape == shape
    torch.testing.assert_close(scores.grad, each.grad.sum(dim=shape.index(1), keepdim=True))


def test_frozen_weight_gets_no_gradient(tensors):
    weight, scores, mask, upstream = tensors
    frozen = weight.detach()
    (StraightThrough.apply(frozen, scores, mask, False) * upstream).sum().backward()
    assert frozen.grad is None and scores.grad is not None


def test_fixed_scores_get_no_gradient(tensors):
    weight, scores, mask, upstream = tensors
    fixed = scores.detach()
    (StraightThrough.apply(weight, fixed, mask, False) * upstream).sum().backward()
    assert fixed.grad is None
    assert torch.equal(weight.grad, upstream * mask)


def test_score_gradient_points_the_right_way():
    """A connection whose product with the input lowers the loss must gain |s|, whatever the sign of its score."""
    weight = torch.tensor([[1.0, 1.0]])
    scores = torch.tensor([[0.5, -0.5]], requires_grad=True)
    x = torch.tensor([1.0, 1.0])
    out = StraightThrough.apply(weight, scores, torch.tensor([[True, False]]), False) @ x
    (-out).sum().backward()
    moved = (scores - 0.1 * scores.grad).abs()
    assert (moved > scores.abs()).all()


def test_gradient_has_the_dtype_of_the_weight_path():
    """bfloat16 weights under autocast: scores stay float32."""
    weight = torch.randn(3, 4).bfloat16()
    scores = torch.randn(3, 4, requires_grad=True)
    out = StraightThrough.apply(weight, scores, torch.ones(3, 4, dtype=torch.bool), False)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert scores.grad.dtype == torch.float32
