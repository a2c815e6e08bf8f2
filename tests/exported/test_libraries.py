"""A library of ONNX that is missing or too old: the message says which extra to install."""

import sys

import onnxruntime
import pytest

from espnet_s3router.errors import InputError
from espnet_s3router.exported.libraries import OLDEST, need, numbers


@pytest.mark.parametrize("name", OLDEST)
def test_missing(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"{name} is missing.*pip install 'espnet-s3router\[export\]'"):
        need(name)


def test_too_old(monkeypatch):
    assert need("onnxruntime") is onnxruntime
    monkeypatch.setattr(onnxruntime, "__version__", "1.9.0")
    with pytest.raises(InputError, match=r"onnxruntime is version 1.9.0, expected 1.20 or later.*\[export\]"):
        need("onnxruntime")


def test_setup_asks_for_the_same_versions():
    from pathlib import Path

    setup = (Path(__file__).parents[2] / "setup.py").read_text("utf-8")
    assert all(f'"{name}>={version}"' in setup for name, version in OLDEST.items())
    assert numbers("1.20.0.dev3") == (1, 20)
