"""Pooling: the loss is the cross-entropy of intents, and padding does not count."""

import pytest
import torch
from espnet2.asr.ctc import CTC

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.mean_pooling import MeanPooling


def test_ctc_of_one_frame_is_the_cross_entropy_of_the_mean():
    """Against SUPERB's classifier by its definition: linear layer, mean over the frames of each utterance, linear layer."""
    torch.manual_seed(0)
    pooling, ctc = MeanPooling(6, 4), CTC(odim=5, encoder_output_size=4)
    states, lengths, intents = torch.randn(3, 7, 6), torch.tensor([7, 4, 1]), torch.tensor([1, 3, 2])
    vectors, ones, _ = pooling(states, lengths)
    assert vectors.shape == (3, 1, 4) and ones.tolist() == [1, 1, 1] and pooling.output_size() == 4
    means = torch.stack([pooling.projector(states[n, :length]).mean(dim=0) for n, length in enumerate(lengths)])
    expected = torch.nn.functional.cross_entropy(ctc.ctc_lo(means), intents)
    loss = ctc(vectors, ones, intents[:, None], torch.ones(3, dtype=torch.long))
    torch.testing.assert_close(loss, expected)
    states[1, 4:], states[2, 1:] = 1e6, -1e6
    torch.testing.assert_close(pooling(states, lengths)[0], vectors)


def test_a_size_that_is_none():
    with pytest.raises(InputError, match="output_size is 0"):
        MeanPooling(6, 0)
