"""Masked weights need not be kept from the forward to the backward pass: W * M is one multiplication away.

Autograd would keep a masked copy of each matrix until its gradient is taken, on top of the weights themselves.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from weakref import ref

import torch
from torch import Tensor


class Recipe(NamedTuple):
    """How to make a saved tensor again: a view of ``weight * factor``."""

    weight: Tensor
    factor: Tensor
    size: torch.Size
    stride: tuple[int, ...]
    offset: int | torch.SymInt


_alive: dict[int, tuple[ref[Tensor], int, Tensor, Tensor]] | None = None
"""Masked weights made inside ``not_saved``, by address: (the tensor, its version, weight, factor)."""


def remember(product: Tensor, weight: Tensor, factor: Tensor) -> None:
    """``product`` is ``weight * factor``. A weight that trains may have changed by the backward pass and is not for this."""
    if _alive is not None and not weight.requires_grad:
        _alive[product.data_ptr()] = (ref(product), product._version, weight, factor)


@contextmanager
def not_saved() -> Iterator[None]:
    """Within the block masked weights are multiplied again in the backward pass instead of being kept.

    Does nothing while hooks of others decide what is kept (activation checkpointing, offloading).
    """
    global _alive
    if not torch.is_grad_enabled() or _alive is not None or _others_decide():
        yield
        return
    _alive = {}
    try:
        with torch.autograd.graph.saved_tensors_hooks(_pack, _unpack):
            yield
    finally:
        _alive = None


def _others_decide() -> bool:
    top = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return top is None or top(True) is not None


def _pack(saved: Tensor) -> Tensor | Recipe:
    start = saved.untyped_storage().data_ptr()
    known = _alive.get(start) if _alive else None
    if known is None:
        return saved
    product, version, weight, factor = known
    # Dead: another tensor may have taken its address since then.
    if product() is None or saved._version != version or saved.dtype != weight.dtype:
        return saved
    return Recipe(weight, factor, saved.size(), saved.stride(), saved.storage_offset())


def _unpack(packed: Tensor | Recipe) -> Tensor:
    if isinstance(packed, Tensor):
        return packed
    return (packed.weight * packed.factor).as_strided(packed.size, packed.stride, packed.offset)
