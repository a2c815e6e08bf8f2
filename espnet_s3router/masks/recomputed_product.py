"""Masked weights are computed twice instead of stored: W * M is one multiplication away.

Without this, autograd keeps a masked copy of each matrix from the forward to the backward pass, beside the weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from weakref import ref

import torch
from torch import Tensor


class PackedProduct(NamedTuple):
    """Stands for a saved tensor that is a view of ``weight * factor``."""

    weight: Tensor
    factor: Tensor
    size: torch.Size
    stride: tuple[int, ...]
    offset: int | torch.SymInt


_products: dict[int, tuple[ref[Tensor], int, Tensor, Tensor]] | None = None
"""Masked weights made inside ``recomputed_products``, by address: (the tensor, its version, weight, factor)."""


def register_product(product: Tensor, weight: Tensor, factor: Tensor) -> None:
    """Record that ``product`` is ``weight * factor``. Trained weights are left out: they may change before the backward."""
    if _products is not None and not weight.requires_grad:
        _products[product.data_ptr()] = (ref(product), product._version, weight, factor)


@contextmanager
def recomputed_products() -> Iterator[None]:
    """Within the block autograd does not keep masked weights; the backward pass multiplies them again.

    The block does nothing while other hooks on saved tensors are active (activation checkpointing, offloading).
    """
    global _products
    if not torch.is_grad_enabled() or _products is not None or _other_hooks_active():
        yield
        return
    _products = {}
    try:
        with torch.autograd.graph.saved_tensors_hooks(_pack, _unpack):
            yield
    finally:
        _products = None


def _other_hooks_active() -> bool:
    top = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return top is None or top(True) is not None


def _pack(saved: Tensor) -> Tensor | PackedProduct:
    start = saved.untyped_storage().data_ptr()
    known = _products.get(start) if _products else None
    if known is None:
        return saved
    product, version, weight, factor = known
    # A dead product may have left its address to another tensor.
    if product() is None or saved._version != version or saved.dtype != weight.dtype:
        return saved
    return PackedProduct(weight, factor, saved.size(), saved.stride(), saved.storage_offset())


def _unpack(packed: Tensor | PackedProduct) -> Tensor:
    if isinstance(packed, Tensor):
        return packed
    return (packed.weight * packed.factor).as_strided(packed.size, packed.stride, packed.offset)
