"""The sampled search must give what a selection over all tensors together gives, whatever they hold."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_s3router.masks import global_ranking as module
from espnet_s3router.masks.global_ranking import bracket, global_masks, global_threshold
from espnet_s3router.masks.select import exact_threshold, zero_count


def tensors(kind, sizes, seed):
    """Flat tensors of several awkward kinds."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(size, generator=generator) for size in sizes]
    if kind == "pruned":
        return [values * (values.abs() > 0.7) for values in drawn]
    if kind == "ties":
        return [values.round() for values in drawn]
    if kind == "scales":  # a sample of one tensor says nothing of another
        return [values * 10.0**index for index, values in enumerate(drawn)]
    if kind == "sorted":  # every so-manieth entry is not representative
        return [values.sort().values for values in drawn]
    return drawn


@settings(max_examples=150)
@given(
    kind=st.sampled_from(["normal", "pruned", "ties", "scales", "sorted"]),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=4),
    share=st.floats(0, 1),
    sample=st.sampled_from([1, 10, 100, 10**6]),
    seed=st.integers(0, 999),
)
def test_equals_kthvalue(kind, sizes, share, sample, seed):
    """However small the sample."""
    flats = tensors(kind, sizes, seed)
    zeros = int(share * sum(sizes))
    expected = torch.cat(flats).abs().kthvalue(zeros).values.item() if zeros else -math.inf
    assert global_threshold(flats, zeros, sample) == expected


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_only_the_few_inside_the_bracket_are_selected_from(share, monkeypatch):
    """The search is for speed: no selection over all weights."""
    generator = torch.Generator().manual_seed(0)
    flats = [torch.randn(50000, generator=generator) for _ in range(4)]
    sizes = []
    monkeypatch.setattr(module, "exact_threshold", lambda m, z: sizes.append(m.numel()) or exact_threshold(m, z))
    found = global_threshold(flats, int(share * 200000), sample=20000)
    assert max(sizes) <= 25000
    monkeypatch.undo()
    low, high = bracket(flats, int(share * 200000), 20000)
    assert low <= found <= high


def test_what_was_pruned_is_pruned_again_without_a_search(monkeypatch):
    """The usual case at the end of an epoch: as many zeros as are wanted, half of all weights."""
    flats = tensors("normal", [50000, 30000], 0)
    masks = global_masks({"a": flats[0], "b": flats[1]}, 0.5)
    pruned = [flats[0] * masks["a"], flats[1] * masks["b"]]
    sizes = []
    monkeypatch.setattr(module, "exact_threshold", lambda m, z: sizes.append(m.numel()) or exact_threshold(m, z))
    assert global_threshold(pruned, zero_count(80000, 0.5), sample=2000) == 0.0
    assert max(sizes) <= 4000  # the sample alone
