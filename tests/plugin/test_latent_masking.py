"""Spans of latent masking in numbers."""

import pytest
import torch

from espnet_s3router.plugin.latent_masking import LatentMasking, LatentOptions, span_mask


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
