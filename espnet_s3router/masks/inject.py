"""Putting masks on tensors, and taking them off.

A mask is a parametrization of the tensor (``torch.nn.utils.parametrize``), never a changed ``forward``: fairseq-style
attention hands its weights straight to ``F.multi_head_attention_forward``, where a wrapped layer would silently do nothing.
"""

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from espnet_s3router.masks.recomputed_product import remember
from espnet_s3router.masks.selectors import GlobalRanking, Selector
from espnet_s3router.masks.sites import Site
from espnet_s3router.masks.straight_through import StraightThrough, as_factor


class MaskedTensor(nn.Module):
    """weight -> weight * mask(scores); the mask is selected once per change of the scores and then kept.

    ``scores`` is float32 with the shape of the weight. The selection is cached by the selector's key (the version counter
    of the scores), so evaluation, gradient accumulation and activation checkpointing select nothing again.
    """

    def __init__(self, scores: Tensor, selector: Selector, *, dense_gradient: bool = False) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores.contiguous())
        self.selector = selector
        if isinstance(selector, GlobalRanking):
            selector.join(self.scores)
        self.dense_gradient = dense_gradient
        self.enabled = True
        self.selections = 0
        """How often a mask was selected: a counter for tests and benchmarks."""
        self._mask: Tensor | None = None
        self._key: Hashable = None
        self._fixed = False

    @property
    def mask(self) -> Tensor:
        """The current boolean mask (shape of the weight), selected now if the scores have changed."""
        if self._mask is None or not self._fixed and self.selector.key(self.scores) != self._key:
            self.selections += 1
            # A mask made under inference_mode could not be used by autograd later.
            with torch.inference_mode(False), torch.no_grad():
                self._mask = self.selector.select(self.scores.detach())
            self._key = self.selector.key(self.scores)
        return self._mask

    def set_mask(self, mask: Tensor | None) -> None:
        """Use this mask (boolean, shape of the scores) whatever the scores say; None returns to the scores."""
        if mask is not None and mask.shape != self.scores.shape:
            raise ValueError(f"mask has shape {tuple(mask.shape)}, expected {tuple(self.scores.shape)}")
        self._fixed = mask is not None
        self._mask = None if mask is None else mask.to(device=self.scores.device, dtype=torch.bool)
        self._key = None

    def touch(self) -> None:
        """Let the next use select anew. For whatever changes the scores without raising their version counter: optimisers
        with ``fused=True`` do (CPU, torch 2.12), and so does writing to ``scores.data``."""
        torch.autograd.graph.increment_version(self.scores)

    def forward(self, weight: Tensor) -> Tensor:
        """Shape and dtype of ``weight``; the weight itself while masks are switched off."""
        if not self.enabled:
            return weight
        mask = self.mask
        product = StraightThrough.apply(weight, self.scores, mask, self.dense_gradient)
        remember(product, weight, as_factor(mask))
        return product

    def extra_repr(self) -> str:
        return f"shape={tuple(self.scores.shape)}, sparsity={self.selector.sparsity}"


def inject(site: Site, masked: MaskedTensor) -> None:
    """Mask the tensor of ``site``, in place. Its state-dict keys are ``parametrizations.<tensor>.{original,0.scores}``."""
    weight = getattr(site.module, site.tensor)
    if weight.shape != masked.scores.shape:
        raise ValueError(f"{site.name}: scores have shape {tuple(masked.scores.shape)}, the tensor {tuple(weight.shape)}")
    if parametrize.is_parametrized(site.module, site.tensor):
        raise ValueError(f"{site.name} is parametrized already (masked, or weight-normalised): it cannot take a mask")
    # unsafe: the check would run the selection once more for shapes that are compared above
    parametrize.register_parametrization(site.module, site.tensor, masked, unsafe=True)


def masked_tensors(model: nn.Module) -> dict[str, MaskedTensor]:
    """All masks of a model by the dotted path of the tensor they lie on, in the order of the model."""
    marker = ".parametrizations."
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, MaskedTensor):
            owner, _, rest = ("." + name).rpartition(marker)
            found[f"{owner}.{rest.rsplit('.', 1)[0]}".lstrip(".")] = module
    return found


def _owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, tensor = name.rpartition(".")
    return model.get_submodule(path), tensor


def remove(model: nn.Module) -> None:
    """Take every mask off, in place: the dense weights are back bit for bit."""
    for name in masked_tensors(model):
        module, tensor = _owner(model, name)
        parametrize.remove_parametrizations(module, tensor, leave_parametrized=False)


def bake(model: nn.Module) -> None:
    """Write W * M into plain weights, in place; the outputs stay equal bit for bit and the scores are gone."""
    for name, masked in masked_tensors(model).items():
        module, tensor = _owner(model, name)
        with torch.no_grad():
            original = module.parametrizations[tensor].original  # type: ignore[union-attr, index]
            baked = masked(original).clone()
            parametrize.remove_parametrizations(module, tensor, leave_parametrized=False)
            getattr(module, tensor).copy_(baked)


def set_enabled(model: nn.Module, enabled: bool) -> None:
    """Switch all masks on or off, in place; off means the dense model."""
    for masked in masked_tensors(model).values():
        masked.enabled = enabled


@contextmanager
def use(model: nn.Module, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Within the block the named tensors use these masks; afterwards what they used before. A name that carries no mask is
    a KeyError, raised before anything changes."""
    present = masked_tensors(model)
    unknown = sorted(set(masks) - set(present))
    if unknown:
        raise KeyError(f"no mask lies on {unknown[:5]}; masked tensors: {sorted(present)[:5]} ({len(present)} in all)")
    before = {name: present[name]._mask if present[name]._fixed else None for name in masks}
    try:
        for name, mask in masks.items():
            present[name].set_mask(mask)
        yield
    finally:
        for name, earlier in before.items():
            present[name].set_mask(earlier)
