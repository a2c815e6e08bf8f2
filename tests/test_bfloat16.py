"""Convolutions are measured in bfloat16 before they are used in it."""

import pytest
import torch
from torch import nn

from espnet_s3router import bfloat16

CPU = torch.device("cpu")
MODEL = nn.Sequential(nn.Conv1d(1, 8, 10, stride=5), nn.Linear(8, 8), nn.Conv1d(8, 8, 3, padding="same", groups=4))


@pytest.fixture(autouse=True)
def forget():
    bfloat16.convolution_error.cache_clear()
    yield
    bfloat16.convolution_error.cache_clear()


@pytest.mark.parametrize(
    "shape",
    [(1, 256, 240, 160, 0, 1, 1), (256, 256, 1, 1, 0, 1, 1), (256, 256, 2, 2, 0, 1, 1), (256, 256, 64, 1, 32, 1, 16),
     (80, 384, 3, 1, 1, 1, 1), (384, 384, 3, 2, 1, 1, 1)],
    ids=str,
)  # fmt: skip
def test_convolutions_of_our_upstreams_are_right(shape):
    """hubert_mini and Whisper tiny.en."""
    assert bfloat16.convolution_error(*shape, CPU) < 0.005


def wrong_for(monkeypatch, faulty):
    """From now on ``conv1d`` returns noise in bfloat16 if ``faulty(input, groups)``."""
    conv1d = torch.nn.functional.conv1d

    def replaced(signal, weight, **options):
        exact = conv1d(signal.float(), weight.float(), **options).to(signal.dtype)
        wrong = signal.dtype == torch.bfloat16 and faulty(signal, options["groups"])
        return torch.randn_like(exact) if wrong else exact

    monkeypatch.setattr(torch.nn.functional, "conv1d", replaced)


def test_a_wrong_convolution_is_named_with_its_shape(monkeypatch):
    wrong_for(monkeypatch, lambda signal, groups: False)
    assert bfloat16.wrong_convolution(MODEL, CPU) is None
    bfloat16.convolution_error.cache_clear()
    wrong_for(monkeypatch, lambda signal, groups: groups == 4)
    found = bfloat16.wrong_convolution(MODEL, CPU)
    assert found.startswith("2 (8 to 8 channels, kernel 3, stride 1, groups 4: relative error ")


def test_a_kernel_that_is_wrong_for_some_lengths_is_found(monkeypatch):
    wrong_for(monkeypatch, lambda signal, groups: signal.shape[1] == 1 and signal.shape[2] % 5 == 0)
    assert bfloat16.wrong_convolution(MODEL, CPU).startswith("0 (1 to 8 channels")


def test_measuring_leaves_the_random_state(monkeypatch):
    before = torch.get_rng_state()
    bfloat16.wrong_convolution(MODEL, CPU)
    assert torch.equal(torch.get_rng_state(), before)
