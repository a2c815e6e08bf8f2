"""Serving: many routes on one base in memory, the text of recordings, and the language of a recording.

The names below load when they are used: models in ONNX need no ESPnet.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from espnet_s3router.serving.bank import Bank
    from espnet_s3router.serving.onnx_bank import OnnxBank
    from espnet_s3router.serving.onnx_model import OnnxModel
    from espnet_s3router.serving.router import Router
    from espnet_s3router.serving.transcript import Transcript

__all__ = ["Bank", "OnnxBank", "OnnxModel", "Router", "Transcript"]

_MODULES = {
    "Bank": "bank",
    "OnnxBank": "onnx_bank",
    "OnnxModel": "onnx_model",
    "Router": "router",
    "Transcript": "transcript",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
