"""S3Router: learn which connections of a shared, frozen speech model each language or task keeps.

Importing this package is light: it neither loads torch nor registers anything. ``Speech2Text`` and ``Speech2Understand``
load when they are first used. ``import espnet_s3router.plugin`` makes ESPnet know the frontend ``masked_upstream``.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from espnet_s3router.zoo.speech2text import Speech2Text, Speech2Understand

__version__ = "0.1.0"
__all__ = ["Speech2Text", "Speech2Understand", "__version__"]

_LAZY = dict.fromkeys(("Speech2Text", "Speech2Understand"), "espnet_s3router.zoo.speech2text")
"""Names that are imported when they are first used: name -> module."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
