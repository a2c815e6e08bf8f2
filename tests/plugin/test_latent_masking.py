"""Spans of latent masking in numbers."""

from functools import partial

import numpy as np
import pytest
import torch

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.latent_masking import LatentMasking, LatentOptions, reference_span_mask, span_mask


@pytest.mark.parametrize(("prob", "length"), [(0.65, 10), (0.25, 10), (0.5, 1), (0.75, 4)])
def test_share_of_masked_frames(prob, length):
    """Spans overlap: with n starts about 1 - exp(-prob) of the frames are masked, a little more since starts differ."""
    torch.manual_seed(0)
    share = span_mask(200, 500, prob, length).float().mean().item()
    if length == 1:
        assert share == pytest.approx(prob, abs=0.01)
    else:
        assert 1 - 2.718281828**-prob - 0.02 <= share <= prob


def test_spans_have_their_length():
    torch.manual_seed(0)
    mask = span_mask(50, 100, 0.05, 7)
    for row in mask:
        edges = torch.diff(torch.cat([torch.zeros(1), row.float(), torch.zeros(1)]))
        runs = (edges == -1).nonzero() - (edges == 1).nonzero()
        assert (runs >= 7).all()
    assert mask.any()


def test_nothing_beyond_the_valid_frames():
    torch.manual_seed(0)
    valid = torch.tensor([0, 3, 20, 50])
    mask = span_mask(4, 50, 0.9, 10, valid)
    for row, limit in zip(mask, valid):
        assert not row[limit:].any()
    assert not mask[0].any() and mask[3].any()


def test_limits_of_probability():
    assert not span_mask(3, 50, 0.0, 10).any()
    torch.manual_seed(0)
    assert span_mask(20, 100, 1.0, 1).all()


def fairseq_mask(batch, size, prob, length, valid=None, least=0):
    """The masks of fairseq, in the copy that s3prl has."""
    from s3prl.upstream.wav2vec2.wav2vec2_model import compute_mask_indices

    padding = None if valid is None else torch.arange(size) >= valid[:, None]
    return torch.from_numpy(compute_mask_indices((batch, size), padding, prob, length, min_masks=least))


@pytest.mark.parametrize(
    ("size", "prob", "length", "least", "valid"),
    [
        (500, 0.65, 10, 2, None),
        (500, 0.65, 10, 2, (500, 400, 300, 150)),
        (500, 0.05, 10, 2, (500, 20)),
        (300, 0.75, 10, 2, (300, 12, 5, 3)),
        (768, 0.25, 64, 0, None),
        (768, 0.5, 64, 0, None),
        (1024, 0.25, 64, 0, None),
    ],
)
def test_reference_masks_as_much_as_fairseq(size, prob, length, least, valid):
    """The share of every row, its deviation, and how often each position is masked, over many batches."""
    torch.manual_seed(0)
    np.random.seed(0)
    batch = len(valid) if valid else 14
    limits = torch.tensor(valid) if valid else None
    ours, theirs = (
        torch.stack([draw(batch, size, prob, length, limits, least) for _ in range(250)]).float()
        for draw in (reference_span_mask, fairseq_mask)
    )  # (draws, batch, size)
    assert (ours.sum(dim=2) == ours.sum(dim=2)[:, :1]).all()  # each row has the smallest count
    shares = [masks.mean(dim=2) for masks in (ours, theirs)]  # (draws, batch)
    torch.testing.assert_close(shares[0].mean(), shares[1].mean(), rtol=0.03, atol=0.004)
    torch.testing.assert_close(shares[0].std(), shares[1].std(), rtol=0.2, atol=0.004)
    by_position = [masks.mean(dim=(0, 1)).unfold(0, 20, 20).mean(dim=1) for masks in (ours, theirs)]
    torch.testing.assert_close(by_position[0], by_position[1], rtol=0.15, atol=0.02)


@pytest.mark.parametrize(
    ("least", "prob", "valid"), [(2, 0.0, (60, 60)), (2, 0.1, (60, 30)), (2, 0.65, (4, 3)), (0, 0.0, (9, 9))]
)
def test_reference_masks_short_rows(least, prob, valid):
    """At least two spans a row; nothing beyond the end of a row."""
    limits = torch.tensor(valid)
    for _ in range(50):
        mask = reference_span_mask(2, max(valid), prob, 10, limits, least)
        assert not any(mask[row, limit:].any() for row, limit in enumerate(valid))
        assert mask.any() == bool(least)


@pytest.mark.parametrize(
    ("draw", "prob", "length", "share"),
    [(reference_span_mask, 0.25, 64, 0.169), (reference_span_mask, 0.5, 64, 0.307),
     (partial(reference_span_mask, least=2), 0.65, 10, 0.441), (span_mask, 0.25, 64, 0.230), (span_mask, 0.5, 64, 0.403),
     (span_mask, 0.65, 10, 0.491)],
)  # fmt: skip
def test_the_two_ways_differ(draw, prob, length, share):
    """Masked shares in a batch of 14, of 768 channels or 500 frames."""
    torch.manual_seed(0)
    size = 768 if length == 64 else 500
    found = torch.stack([draw(14, size, prob, length) for _ in range(150)]).float().mean().item()
    assert found == pytest.approx(share, abs=0.012)


class Expert(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.latent = torch.nn.Identity()
        self.mask_emb = torch.nn.Parameter(torch.full((8,), 5.0))


class Names:
    """The part of a family that latent masking reads."""

    latent = "latent"
    mask_embedding = "mask_emb"


def masking(active=True, **options):
    expert = Expert()
    return expert, LatentMasking(expert, Names, lambda: active, LatentOptions(**options))


def test_masked_frames_are_the_embedding_and_channels_zero():
    torch.manual_seed(0)
    x = torch.randn(4, 60, 8)
    expert, _ = masking(time_prob=0.5, time_length=5)
    out = expert.latent(x)
    masked = (out == 5.0).all(-1)
    assert 0.2 < masked.float().mean() < 0.6
    assert torch.equal(out[~masked], x[~masked])
    expert, _ = masking(channel_prob=0.4, channel_length=2)
    out = expert.latent(x)
    gone = (out == 0).all(1)
    assert 0.1 < gone.float().mean() < 0.6
    assert torch.equal(out, torch.where(gone[:, None], 0.0, x))


def test_padding_is_not_masked():
    torch.manual_seed(0)
    expert, latent = masking(time_prob=1.0, time_length=1)
    latent.lengths = torch.tensor([16000, 8000])
    out = expert.latent(torch.zeros(2, 50, 8))
    assert (out[0] == 5.0).all() and (out[1, :25] == 5.0).all() and (out[1, 25:] == 0.0).all()


def test_not_active_changes_nothing():
    x = torch.randn(2, 10, 8)
    expert, _ = masking(active=False, time_prob=1.0, channel_prob=1.0)
    assert expert.latent(x) is x


def test_zero_probabilities_install_nothing():
    expert, _ = masking()
    assert not expert.latent._forward_hooks


def test_options_of_spans_and_embedding():
    torch.manual_seed(0)
    expert, latent = masking(time_prob=0.65, time_length=5, spans="reference", train_embedding=True)
    latent.lengths = torch.tensor([60, 60, 20])
    counts = (expert.latent(torch.randn(3, 60, 8)) == 5.0).all(-1).sum(dim=1)
    assert len(set(counts.tolist())) == 1 and counts[0] <= 20
    with pytest.raises(InputError, match="spans is 'fairseq', expected one of independent, reference"):
        LatentOptions(spans="fairseq")
    with pytest.raises(InputError, match="train_embedding needs masked frames: set time_prob"):
        LatentOptions(channel_prob=0.1, train_embedding=True)
