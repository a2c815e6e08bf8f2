"""Putting masks on tensors and baking them in.

A mask is a parametrization of the tensor (``torch.nn.utils.parametrize``), never a changed ``forward``: fairseq-style
attention hands its weights straight to ``F.multi_head_attention_forward``, where a wrapped layer would silently do nothing.
"""

from collections.abc import Hashable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from espnet_s3router.masks.names import plain_name
from espnet_s3router.masks.ranking import GlobalRanking, Selector
from espnet_s3router.masks.recomputed_product import register_product
from espnet_s3router.masks.shared_units import SharedUnits
from espnet_s3router.masks.sites import Site
from espnet_s3router.masks.straight_through import StraightThrough, as_factor


class MaskedTensor(nn.Module):
    """weight -> weight * mask(scores); the mask is selected once per change of the scores and then kept.

    ``scores`` is float32 with the shape of the weight, or a size of 1 in the dimensions that share one score. ``shape`` is
    that of the weight then. The selection is cached by the selector's key (the version counter of the scores), so
    evaluation, gradient accumulation and activation checkpointing select nothing again.
    ``dense_gradient`` and ``estimator`` are those of ``straight_through``.
    """

    def __init__(
        self,
        scores: Tensor,
        selector: Selector,
        *,
        shape: torch.Size | None = None,
        dense_gradient: bool = False,
        estimator: str = "magnitude",
    ) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores.contiguous())
        self.shape = scores.shape if shape is None else shape
        self.selector = selector
        self.estimator = estimator
        if isinstance(selector, GlobalRanking | SharedUnits):
            selector.join(self.scores, self.shape.numel())
        self.dense_gradient = dense_gradient
        self.selections = 0
        """Number of selections so far: a counter for tests and benchmarks."""
        self._mask: Tensor | None = None
        self._key: Hashable = None
        self._fixed = False

    @property
    def mask(self) -> Tensor:
        """The current boolean mask (shape of the weight), selected now if the scores have changed."""
        if self._mask is None or not self._fixed and self.selector.key(self.scores) != self._key:
            self.selections += 1
            # Autograd could not use a mask made under inference_mode later.
            with torch.inference_mode(False), torch.no_grad():
                self._mask = self._select()
            self._key = self.selector.key(self.scores)
        return self._mask

    def _select(self) -> Tensor:
        """The boolean mask (shape of the weight) of the present scores."""
        return self.selector.select(self.scores.detach()).expand(self.shape).contiguous()

    @property
    def choices(self) -> int:
        """Number of entries that the mask may remove."""
        return self.shape.numel()

    def all_scores(self) -> list[nn.Parameter]:
        """The scores of this tensor. There are several where it has several masks."""
        return [self.scores]

    def load_scores(self, scores: Tensor) -> None:
        """Replace the scores, in place, by those that the constructor takes."""
        self.scores.copy_(scores)

    def positions(self) -> Tensor | None:
        """Ascending flat indices of the entries that have a score; None if all have one."""
        return None

    def set_mask(self, mask: Tensor | None) -> None:
        """Use this mask (boolean, shape of the weight) instead of the scores; None returns to the scores."""
        if mask is not None and mask.shape != self.shape:
            raise ValueError(f"mask has shape {tuple(mask.shape)}, expected {tuple(self.shape)}")
        self._fixed = mask is not None
        self._mask = None if mask is None else mask.to(device=self.scores.device, dtype=torch.bool)
        self._key = None

    def touch(self) -> None:
        """Make the next use select anew, after a change of the scores that did not raise their version counter.

        Such changes come from optimisers with ``fused=True`` (CPU, torch 2.12) and from writing to ``scores.data``.
        """
        torch.autograd.graph.increment_version(self.all_scores())

    def forward(self, weight: Tensor) -> Tensor:
        """Masked weight, in the shape and dtype of ``weight``."""
        mask = self.mask
        product = StraightThrough.apply(weight, self.scores, mask, self.dense_gradient, self.estimator, self.positions)
        register_product(product, weight, as_factor(mask))
        return product

    def extra_repr(self) -> str:
        return f"shape={tuple(self.shape)}, sparsity={self.selector.sparsity}"


def inject(site: Site, masked: MaskedTensor) -> None:
    """Mask the tensor of ``site``, in place; ``names`` tells its new state-dict keys.

    ValueError for scores of another shape and for a tensor that is parametrized already.
    """
    weight = getattr(site.module, site.tensor)
    if weight.shape != masked.shape:
        raise ValueError(f"{site.name}: scores have shape {tuple(masked.shape)}, the tensor {tuple(weight.shape)}")
    if parametrize.is_parametrized(site.module, site.tensor):
        raise ValueError(f"{site.name} is parametrized already (masked, or weight-normalised): it cannot take a mask")
    # unsafe: torch's check would run the selection once more, for shapes that are compared above
    parametrize.register_parametrization(site.module, site.tensor, masked, unsafe=True)


def masked_tensors(model: nn.Module) -> dict[str, MaskedTensor]:
    """All masks of a model by the dotted path of their tensor, in the order of the model."""
    return {plain_name(name): module for name, module in model.named_modules() if isinstance(module, MaskedTensor)}


def bake(model: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...] = MaskedTensor) -> None:
    """Write every parametrization of these classes into plain weights, in place; outputs stay equal bit for bit.

    A mask becomes W * M, and its scores are gone.
    """
    for module, tensor in _parametrized(model, kinds):
        with torch.no_grad():
            baked = getattr(module, tensor).clone()
            parametrize.remove_parametrizations(module, tensor, leave_parametrized=False)
            getattr(module, tensor).copy_(baked)


def _parametrized(model: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...]) -> list[tuple[nn.Module, str]]:
    """(module, attribute) of every tensor with a parametrization of these classes."""
    return [
        (module, tensor)
        for module in model.modules()
        for tensor, chain in getattr(module, "parametrizations", {}).items()
        if any(isinstance(step, kinds) for step in chain)
    ]
