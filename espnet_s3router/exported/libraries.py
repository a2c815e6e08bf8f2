"""The libraries of ONNX. They are an extra of this package, so each use asks for them first."""

import re
from importlib import import_module
from typing import Any

from espnet_s3router.errors import InputError, install_extra

OLDEST = {"onnx": "1.17", "onnxruntime": "1.20", "onnxscript": "0.5"}
"""The oldest versions that work; setup.py has the same."""
FIX = f"Install what ONNX models need: {install_extra('export')}"


def need(name: str) -> Any:
    """The module of a library in OLDEST. Raises InputError if it is missing or too old."""
    try:
        module = import_module(name)
    except ImportError as error:
        raise InputError(f"{name} is missing, expected version {OLDEST[name]} or later. {FIX}") from error
    if numbers(module.__version__) < numbers(OLDEST[name]):
        raise InputError(f"{name} is version {module.__version__}, expected {OLDEST[name]} or later. {FIX}")
    return module


def numbers(version: str) -> tuple[int, int]:
    """Major and minor number of a version."""
    major, minor = re.findall(r"\d+", version)[:2]
    return int(major), int(minor)
