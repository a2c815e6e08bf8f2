"""Counts of parameters and MACs, against PyTorch's own counter and the tensors of the model."""

import pytest
import torch
from toys import TOYS, counted_by_torch

from espnet_s3router.errors import InputError
from espnet_s3router.upstreams import family_of
from espnet_s3router.upstreams.count import macs, macs_per_second, parameters
from espnet_s3router.upstreams.structure import Widths, structure_of

COUNTED = [name for name in TOYS if name != "conformer"]


@pytest.fixture(scope="module")
def upstreams(toy_upstreams):
    from espnet_s3router.plugin.upstreams.build import load_upstream

    return {name: load_upstream(source).upstream for name, source in toy_upstreams.items()}


@pytest.mark.parametrize("seconds", [0.7, 1.0, 1.52, 2.3])
@pytest.mark.parametrize("name", COUNTED)
def test_macs(name, seconds, upstreams):
    """Lengths with an odd number of frames, an even one, and more than one window of Whisper."""
    structure = structure_of(upstreams[name], family_of(upstreams[name]))
    assert sum(macs(structure, seconds).values()) == counted_by_torch(upstreams[name], seconds)


@pytest.mark.parametrize("name", COUNTED)
def test_parameters(name, upstreams):
    structure = structure_of(upstreams[name], family_of(upstreams[name]))
    total = sum(p.numel() for p in upstreams[name].parameters())
    assert sum(parameters(structure).values()) + structure.unused == total
    assert all(count >= 0 for count in parameters(structure).values())


def test_layers_with_other_parts_are_not_counted(upstreams):
    expert = upstreams["conformer"]
    assert macs_per_second(expert, family_of(expert)) is None
    with pytest.raises(InputError, match="layers of conformer upstreams hold more than attention"):
        structure_of(expert, family_of(expert))


def test_parts(upstreams):
    """By hand, for the toy wav2vec2: 3 convolutions of 8 channels, 2 layers of 16 units, 2 heads and 32 inner units."""
    structure = structure_of(upstreams["wav2vec2"], family_of(upstreams["wav2vec2"]))
    assert parameters(structure) == {
        "convolutions": 8 * 10 + 2 * 8 + 2 * 8 * 8 * 8,
        "projection": 8 * 16 + 16 + 2 * 8,
        "position": 16 * 8 * 8 + 16,
        "attention": 2 * 4 * (16 * 16 + 16),
        "feed_forward": 2 * (2 * 16 * 32 + 32 + 16),
        "rest": 8 + 2 * 16 * (2 * 2 + 1),  # the gain of the positional convolution, five norms
    }
    frames = 50  # 49, padded to an even number
    assert macs(structure, 1.0) == {
        "spectrum": 0,
        "convolutions": 3199 * 10 * 8 + 399 * 8 * 64 + 49 * 8 * 64,
        "projection": 49 * 8 * 16,
        "position": 50 * 8 * 16 * 8,
        "attention": 2 * (4 * frames * 16 * 16 + 2 * frames * frames * 16),
        "feed_forward": 2 * 2 * frames * 16 * 32,
    }


def test_expected_counts_have_gradients(upstreams):
    structure = structure_of(upstreams["hf_hubert"], family_of(upstreams["hf_hubert"]))
    full = structure.widths
    sizes = full.channels + full.heads + full.inner
    expected = [torch.tensor(float(size), dtype=torch.float64, requires_grad=True) for size in sizes]
    widths = Widths(channels=tuple(expected[:3]), heads=tuple(expected[3:5]), inner=tuple(expected[5:]))
    exact = (macs(structure, 1.0), parameters(structure))
    for count, whole in zip((macs(structure, 1.0, widths), parameters(structure, widths)), exact):
        total = sum(count.values())
        assert float(total.detach()) == sum(whole.values())
        assert all(float(g) > 0 for g in torch.autograd.grad(total, expected))


def test_per_second(upstreams):
    expert = upstreams["data2vec"]
    assert macs_per_second(expert, family_of(expert), 2.0) == counted_by_torch(expert, 2.0) // 2
