"""S3Router: learn which connections of a shared, frozen speech model each language or task keeps.

Importing this package is light: it neither loads torch nor registers anything. ``Speech2Text`` is loaded when it is first
used. ``import espnet_s3router.plugin`` makes ESPnet know the frontend ``masked_upstream``.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from espnet_s3router.zoo.speech2text import Speech2Text

__version__ = "0.1.0"
__all__ = ["Speech2Text", "__version__"]

_LAZY = {"Speech2Text": "espnet_s3router.zoo.speech2text"}
"""Names that are imported when they are first used: name -> module."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
