"""Masks survive coding exactly, in bytes close to their entropy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from espnet_s3router.errors import InputError
from espnet_s3router.masks import Candidates, nm_mask, topk_mask, unit_mask
from espnet_s3router.masks.code_length import entropy_bytes
from espnet_s3router.routes.codec import CODES, CodedMask, decode, encode, own_entropy_bytes
from espnet_s3router.routes.entropy import Decoder, Encoder, put_counts, take_counts


def scores(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


SHAPES = st.lists(st.integers(1, 40), min_size=1, max_size=3)


@st.composite
def a_mask(draw):
    """A mask of any shape: random at a sparsity, in runs, of few or nearly all weights, in units."""
    shape, seed = draw(SHAPES), draw(st.integers(0, 10**6))
    kind = draw(st.sampled_from(["random", "runs", "one kept", "one removed", "none kept", "none removed", "units"]))
    generator, numel = torch.Generator().manual_seed(seed), math.prod(shape)
    if kind == "random":
        return torch.rand(shape, generator=generator) >= draw(st.floats(0.0, 0.99))
    if kind == "runs":
        lengths = torch.randint(1, 30, (numel,), generator=generator)
        flags = torch.arange(numel) % 2 == 0
        return torch.repeat_interleave(flags, lengths)[:numel].view(shape)
    if kind == "units":
        return (torch.rand(shape[-1], generator=generator) >= 0.3).expand(shape).contiguous()
    mask = torch.full((numel,), kind in ("one removed", "none removed"))
    if kind.startswith("one"):
        mask[torch.randint(numel, (1,), generator=generator)] ^= True
    return mask.view(shape)


@given(a_mask(), st.booleans())
def test_every_mask_survives(mask, prior):
    weight = scores(*mask.shape, seed=1) - 0.5 if prior else None
    coded = encode(mask, weight)
    assert torch.equal(decode(coded, weight), mask)
    assert coded.zeros == int((~mask).sum()) and coded.shape == tuple(mask.shape)
    assert len(coded.data) <= -(-mask.numel() // 8)


@given(a_mask())
def test_every_code_survives(mask):
    """Also the codes that are not the shortest."""
    removed = (~mask).numpy()
    for name, (code, flags) in CODES.items():
        data = code(removed)
        if data is not None:
            coded = CodedMask(tuple(mask.shape), name, int(removed.sum()), data)
            assert np.array_equal(flags(coded), removed.reshape(-1)), name


@pytest.mark.parametrize(
    ("mask", "codec", "most"),
    [
        (torch.ones(64, 256, dtype=torch.bool), "full", 0),
        (topk_mask(scores(256, 768), 0.5), "bits", 256 * 768 / 8),
        (unit_mask(scores(256, 768), 0.1, 0), "units", 33),
        (unit_mask(scores(256, 768), 0.1, 1), "units", 97),
        (topk_mask(scores(256, 768), 0.01), "gaps", 1.01 * entropy_bytes(1966, 256 * 768)),
        (topk_mask(scores(256, 768), 0.08), "gaps", 1.002 * entropy_bytes(15729, 256 * 768)),
        (topk_mask(scores(256, 768), 0.9), "gaps", 1.002 * entropy_bytes(176947, 256 * 768)),
        (nm_mask(scores(256, 768), 2, 4), "patterns", 256 * 768 / 4 * math.log2(6) / 8 + 110),  # six patterns of four
        (nm_mask(scores(256, 768), 1, 2), "patterns", 256 * 768 / 2 / 8 + 110),  # two patterns of two
    ],
)
def test_the_shortest_code_is_chosen(mask, codec, most):
    coded = encode(mask)
    assert coded.codec == codec and len(coded.data) <= most
    assert torch.equal(decode(coded), mask)


class TestPrior:
    weight = torch.randn(256, 768, generator=torch.Generator().manual_seed(3))

    def test_a_mask_near_the_magnitude_mask_is_short(self):
        mask = topk_mask(self.weight, 0.08)
        flat = mask.view(-1)
        flat[torch.randint(flat.numel(), (200,), generator=torch.Generator().manual_seed(4))] ^= True
        coded = encode(mask, self.weight)
        assert coded.codec == "buckets" and len(coded.data) < 0.2 * len(encode(mask).data)
        assert torch.equal(decode(coded, self.weight), mask)

    def test_a_mask_that_forgot_the_weights_needs_no_base(self):
        assert encode(topk_mask(scores(256, 768), 0.08), self.weight).codec == "gaps"

    @pytest.mark.parametrize("weight", [torch.zeros(8, 16), torch.full((8, 16), math.nan), torch.randn(8, 16).bfloat16()])
    def test_any_weights(self, weight):
        from espnet_s3router.routes import buckets

        removed = (~topk_mask(scores(8, 16), 0.3)).numpy().reshape(-1)
        assert np.array_equal(buckets.decode(buckets.encode(removed, weight), weight), removed)

    def test_without_or_with_another_base(self):
        coded = encode(topk_mask(self.weight, 0.08), self.weight)
        with pytest.raises(InputError, match="give the base"):
            decode(coded)
        with pytest.raises(InputError, match=r"shape \(768, 256\), the mask \(256, 768\)"):
            decode(coded, self.weight.T)


class TestCandidates:
    weight = torch.randn(256, 768, generator=torch.Generator().manual_seed(3))

    @pytest.mark.parametrize("source", ["magnitude", "random"])
    @pytest.mark.parametrize(("share", "sparsity"), [(0.25, 0.08), (0.1, 0.03), (0.05, 0.01)])
    def test_bytes_are_the_entropy_of_the_candidates(self, source, share, sparsity):
        rule, numel = Candidates(share=share, source=source), self.weight.numel()
        drawn = torch.full((numel,), 2.0)
        positions = rule.positions(self.weight, "x")
        drawn[positions] = scores(len(positions))
        mask = topk_mask(drawn.view(256, 768), sparsity)
        coded = encode(mask, self.weight, rule, "x")
        assert torch.equal(decode(coded, self.weight, rule, "x"), mask)
        own = own_entropy_bytes(coded, rule)
        assert own == entropy_bytes(round(sparsity * numel), round(share * numel))
        assert len(coded.data) < 1.01 * own and own < 0.75 * entropy_bytes(round(sparsity * numel), numel)

    def test_a_mask_near_the_magnitude_mask_is_shorter_still(self):
        """The prior acts among the candidates, too."""
        rule, mask = Candidates(share=0.25), topk_mask(self.weight, 0.08)
        coded = encode(mask, self.weight, rule, "x")
        assert coded.codec in ("buckets", "candidates/buckets") and torch.equal(decode(coded, self.weight, rule, "x"), mask)

    @given(a_mask(), st.floats(0.01, 0.99), st.sampled_from(["magnitude", "largest", "random"]))
    def test_every_mask_survives(self, mask, share, source):
        """Also one that removes others than candidates."""
        rule, weight = Candidates(share=share, source=source), scores(*mask.shape, seed=1) - 0.5
        for allowed in (mask, mask.flatten().index_fill(0, outside(rule, weight), True).view(mask.shape)):
            coded = encode(allowed, weight, rule, "x")
            assert torch.equal(decode(coded, weight, rule, "x"), allowed)

    def test_a_code_within_a_code(self):
        with pytest.raises(InputError, match="but no rule names them"):
            decode(CodedMask((8, 8), "candidates/candidates/gaps", 1, b""), scores(8, 8), Candidates(share=0.5), "x")

    def test_without_the_weights(self):
        coded = CodedMask((8, 8), "candidates/buckets", 1, b"")
        with pytest.raises(InputError, match="coded under a prior from the base weights: give the base"):
            decode(coded, None, Candidates(share=0.5, source="random"), "x")
        with pytest.raises(InputError, match=r"the base has shape \(4, 4\), the mask \(8, 8\)"):
            decode(coded, scores(4, 4), Candidates(share=0.5, source="random"), "x")


def outside(rule, weight):
    """Flat indices of the weights that are no candidates."""
    others = torch.ones(weight.numel(), dtype=torch.bool)
    others[rule.positions(weight, "x")] = False
    return others.nonzero().flatten()


@given(st.lists(st.integers(0, 2**34), min_size=1, max_size=20), st.binary(max_size=5))
def test_counts(counts, rest):
    taken, left = take_counts(put_counts(np.array(counts, dtype=np.int64)) + rest, len(counts))
    assert taken.tolist() == counts and left == rest


def test_segments_of_one_code():
    coder = Encoder()
    segments = [([0, 5, 6], 7), ([], 9), ([1000], 1001), ([0], 1), ([3, 400, 401], 5000)]
    for positions, length in segments:
        coder.add_positions(np.array(positions, dtype=np.int64), length)
    decoder = Decoder(coder.code())
    for positions, length in segments:
        assert decoder.positions(len(positions), length).tolist() == positions
    decoder.finish()


BROKEN = [
    (CodedMask((8, 8), "zip", 1, b""), "codec is 'zip', expected one of full"),
    (CodedMask((8, 8), "bits", 1, b"1234567"), "7 bytes for 64 bits"),
    (CodedMask((8, 8), "bits", 1, b"\0" * 8), "removes 0 weights, expected 1"),
    (CodedMask((8, 8), "full", 1, b""), "removes 0 weights, expected 1"),
    (CodedMask((8, 8), "full", 65, b""), "65 removed of 64 weights"),
    (CodedMask((2**20, 2**20), "full", 0, b""), "expected at most"),
    (CodedMask((8, 8), "units", 8, b"\2\1"), "belongs to no matrix"),
    (CodedMask((64,), "units", 8, b"\0\1"), "belongs to no matrix"),
    (CodedMask((8, 8), "gaps", 3, b"123"), "3 bytes, expected a multiple of 4"),
    (CodedMask((8, 8), "gaps", 3, b"12341234123412341234"), "longer than the matrix"),
    (CodedMask((8, 8), "patterns", 3, b"\xff" * 34), "0 counts, expected 256"),
    (CodedMask((8, 8), "patterns", 3, b"\x01" * 34), "2 counts, expected 32"),
    (CodedMask((8, 8), "patterns", 3, b"\xff" * 32 + b"\1" * 256), "256 patterns, expected 8"),
]


@pytest.mark.parametrize(("coded", "message"), BROKEN)
def test_broken_codes(coded, message):
    with pytest.raises(InputError, match=message):
        decode(coded)


@given(st.binary(max_size=80), st.integers(0, 300), st.sampled_from(sorted(CODES)))
def test_no_other_error(data, zeros, codec):
    try:
        mask = decode(CodedMask((20, 15), codec, zeros, data))
    except InputError:
        return
    assert int((~mask).sum()) == zeros
