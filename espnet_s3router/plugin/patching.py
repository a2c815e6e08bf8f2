"""Temporary replacement of functions of other libraries."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """Within the block, the attribute ``name`` of a module or class is ``replacement``."""
    original = vars(owner)[name]  # unlike getattr, keeps a classmethod as it is
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, original)
