"""Bytes of masks, and the sparsity that fits them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_s3router.masks.code_length import entropy_bytes, masks_bytes, sparsity_for_bytes


def test_entropy_of_known_masks():
    assert entropy_bytes(0, 100) == entropy_bytes(100, 100) == entropy_bytes(0, 0) == 0.0
    assert entropy_bytes(50, 100) == pytest.approx(100 / 8)
    assert entropy_bytes(8, 100) == pytest.approx(100 * 0.4021792 / 8, rel=1e-6)  # H(.08)


def test_entropy_is_that_of_all_masks_with_this_count():
    """log2 of the number of masks, up to half a logarithm of its size (Stirling)."""
    masks = math.log2(math.comb(2000, 160)) / 8
    assert masks < entropy_bytes(160, 2000) < masks + 1


def test_candidates_make_masks_cheaper():
    assert masks_bytes(0.08, [(1000, 1000)]) == entropy_bytes(80, 1000)
    assert masks_bytes(0.08, [(1000, 250), (500, 125)]) == entropy_bytes(80, 250) + entropy_bytes(40, 125)


@given(st.floats(0.02, 0.98), st.sampled_from([1.0, 0.25, 0.1]))
def test_sparsity_for_bytes(share, candidates):
    """The masks need the target, up to the bytes of a few entries."""
    sizes = [(numel, int(candidates * numel)) for numel in (30000, 12345, 60000)]
    target = int(share * masks_bytes(candidates / 2, sizes))
    sparsity = sparsity_for_bytes(target, sizes)
    assert 0 < sparsity <= candidates / 2
    assert target - 3 <= masks_bytes(sparsity, sizes) <= target


def test_targets_that_no_sparsity_meets():
    with pytest.raises(ValueError, match="hold at most 125 bytes, at sparsity 0.5"):
        sparsity_for_bytes(126, [(1000, 1000)])
    with pytest.raises(ValueError, match="hold at most 31 bytes, at sparsity 0.125"):
        sparsity_for_bytes(126, [(1000, 250)])
    with pytest.raises(ValueError, match="no weight could be removed, expected at least 2"):
        sparsity_for_bytes(1, [(1000, 1000)])
