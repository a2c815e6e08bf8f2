"""The method's own term of the loss, such as the constraint of structured pruning."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from espnet_s3router.methods import Attached


def install_penalty(model: Any) -> None:
    """Add ``Attached.penalty`` of the model's method to its loss in training, and to its statistics, in place. A method
    without one leaves the model as it is."""
    if type(model.frontend.attached).penalty is not Attached.penalty:
        model.forward = partial(_forward, model, model.forward)


def _forward(model: Any, forward: Callable[..., Any], *args: Any, **batch: Any) -> tuple[Tensor, dict[str, Any], Tensor]:
    loss, stats, weight = forward(*args, **batch)
    if model.training:
        added, numbers = model.frontend.attached.penalty()
        stats = stats | numbers
        if added is not None:
            loss = loss + added
            stats["loss"] = stats["loss"] + added.detach()
    return loss, stats, weight
