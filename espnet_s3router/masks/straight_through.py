"""The straight-through estimator: masked weights forward, a gradient into the scores that selected them.

Forward, W_eff = W * M. Backward, M counts as a function of the scores (Bengio et al. 2013, arXiv 1308.3432), the estimator:

- ``magnitude``: |s| (S3-Router, arXiv 2211.01522 sec. 3), so dL/ds = sign(s) * W * dL/dW_eff.
- ``sigmoid``: sigmoid(|s|), an option of the S3-Router code that is off by default there.
- ``signed``: s (movement pruning, arXiv 2005.07683 eq. 2), so dL/ds = W * dL/dW_eff.

A score that serves a whole unit gets the sum of the gradients of its entries. If only some entries have a score, only theirs
are computed.

If the weights train too, dL/dW = M * dL/dW_eff. With a dense gradient it is dL/dW_eff: removed weights then go on learning,
and may be worth more when they return.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class StraightThrough(torch.autograd.Function):
    """apply(weight, scores, mask, dense_gradient, estimator, positions) -> weight with its unselected entries set to zero.

    ``mask`` (boolean) has the shape of ``weight``. ``scores`` has that shape too, or a size of 1 in some dimensions. If
    ``positions()`` returns flat indices (candidates,) instead of None, ``scores`` has their shape and belongs to these.
    """

    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        scores: Tensor,
        mask: Tensor,
        dense_gradient: bool,
        estimator: str = "magnitude",
        positions: Callable[[], Tensor | None] = lambda: None,
    ) -> Tensor:
        ctx.save_for_backward(weight, scores, mask)
        ctx.dense_gradient, ctx.estimator, ctx.positions = dense_gradient, estimator, positions
        return weight * as_factor(mask)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, scores, mask = ctx.saved_tensors
        needs_weight, needs_scores = ctx.needs_input_grad[:2]
        grad_weight = (grad if ctx.dense_gradient else grad * as_factor(mask)) if needs_weight else None
        grad_scores = None
        if needs_scores:
            if (positions := ctx.positions()) is not None:
                # index_select is several times as fast as [positions]
                weight, grad = (tensor.reshape(-1).index_select(0, positions) for tensor in (weight, grad))
            slope = ESTIMATORS[ctx.estimator](scores)
            product = slope.mul_(weight) if slope.shape == weight.shape else slope * weight
            grad_scores = product.mul_(grad).sum_to_size(scores.shape)
        return grad_weight, grad_scores, None, None, None, None


def _sigmoid_slope(scores: Tensor) -> Tensor:
    gate = torch.sigmoid(scores.abs())
    return torch.sign(scores) * gate * (1.0 - gate)


ESTIMATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "magnitude": torch.sign,
    "sigmoid": _sigmoid_slope,
    "signed": torch.ones_like,
}
"""Slope of each estimator: its derivative by the score, as a new tensor."""


def as_factor(mask: Tensor) -> Tensor:
    """View of the boolean mask as int8 zeros and ones: torch multiplies by these three times as fast as by booleans."""
    return mask.view(torch.int8)
