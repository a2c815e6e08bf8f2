"""The straight-through estimator: masked weights forward, a gradient into the scores that selected them.

Forward, W_eff = W * M. Backward, M counts as |s| (arXiv 2211.01522 sec. 3; Bengio et al. 2013, arXiv 1308.3432), so
dL/ds = sign(s) * W * dL/dW_eff. If the weights train too, dL/dW = M * dL/dW_eff. With a dense gradient it is dL/dW_eff:
removed weights then go on learning, and may be worth more when they return.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class StraightThrough(torch.autograd.Function):
    """apply(weight, scores, mask, dense_gradient) -> weight with its unselected entries set to zero; all of one shape."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scores: Tensor, mask: Tensor, dense_gradient: bool) -> Tensor:
        ctx.save_for_backward(weight, scores, mask)
        ctx.dense_gradient = dense_gradient
        return weight * as_factor(mask)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        weight, scores, mask = ctx.saved_tensors
        needs_weight, needs_scores = ctx.needs_input_grad[:2]
        grad_weight = (grad if ctx.dense_gradient else grad * as_factor(mask)) if needs_weight else None
        grad_scores = torch.sign(scores).mul_(weight).mul_(grad) if needs_scores else None
        return grad_weight, grad_scores, None, None


def as_factor(mask: Tensor) -> Tensor:
    """View of the boolean mask as int8 zeros and ones: torch multiplies by these three times as fast as by booleans."""
    return mask.view(torch.int8)
