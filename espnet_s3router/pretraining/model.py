"""HuBERT (arXiv 2106.07447): masked prediction of clusters, on the implementation of transformers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import HubertConfig, HubertModel

from espnet_s3router.errors import InputError
from espnet_s3router.pretraining.features import FIELD, STRIDE


@dataclass(frozen=True, kw_only=True)
class MaskConfig:
    """Options that choose the masked frames."""

    prob: float = 0.65
    """Share of frames that start a span, times ``length``. About this share is masked, less where spans overlap."""
    length: int = 10
    """Frames of a span."""
    unmasked_weight: float = 0.5
    """Weight of the loss on unmasked frames. At 0, small models do not improve for hundreds of updates."""

    def __post_init__(self) -> None:
        if not 0 < self.prob < 1 or self.length < 1 or self.unmasked_weight < 0:
            raise InputError(f"mask: got {self}, expected prob in (0, 1), length from 1 and unmasked_weight from 0")


def span_mask(rows: int, frames: int, config: MaskConfig, rng: np.random.Generator) -> Tensor:
    """Return a mask (rows, frames) bool of random spans, at least one in each row."""
    mask = np.zeros((rows, frames), bool)
    count = max(1, int(config.prob * frames / config.length + rng.random()))
    length = min(config.length, frames)
    for row in mask:
        for start in rng.choice(frames - length + 1, min(count, frames - length + 1), replace=False):
            row[start : start + length] = True
    return torch.from_numpy(mask)


class MaskedPrediction(nn.Module):
    """A HuBERT and a linear layer that predicts the cluster of each frame from the last hidden states.

    With ``mel_start`` the first convolution is initialised as a mel filter bank.
    """

    def __init__(self, shape: Mapping[str, Any], clusters: int, mask: MaskConfig, *, mel_start: bool = False) -> None:
        super().__init__()
        self.mask = mask
        self.hubert = HubertModel(hubert_config(shape))
        if mel_start:
            first: Any = self.hubert.feature_extractor.conv_layers[0].conv
            with torch.no_grad():
                first.weight.copy_(mel_filters(*first.weight.shape[::2])[:, None])
        self.head = nn.Linear(self.hubert.config.hidden_size, clusters)

    def forward(self, waveforms: Tensor, labels: Tensor, masked: Tensor) -> dict[str, Tensor]:
        """Return the loss, and the accuracy on masked and on unmasked frames.

        ``waveforms`` (batch, samples), ``labels`` (batch, frames) and ``masked`` (batch, frames) bool.
        """
        hidden = self.hubert(waveforms, mask_time_indices=masked).last_hidden_state  # (batch, frames, dim)
        logits = self.head(hidden).float()  # (batch, frames, clusters)
        nll = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
        loss = nll[masked].mean()
        if self.mask.unmasked_weight and not masked.all():
            loss = loss + self.mask.unmasked_weight * nll[~masked].mean()
        correct = logits.argmax(dim=-1) == labels
        return {"loss": loss, "masked": correct[masked].float().mean(), "unmasked": correct[~masked].float().mean()}


def mel_filters(channels: int, taps: int) -> Tensor:
    """Return (channels, taps): windowed cosines at four phases of each of ``channels / 4`` centre frequencies.

    The frequencies are evenly spaced in mel from 60 Hz to 7.6 kHz. Rectified and summed over the phases, the filters give
    the magnitude of a band. Learning such filters takes a network many hours of audio (Zeghidour et al. 2021,
    arXiv 2101.08596).
    """
    bands = -(-channels // 4)
    low, high = (2595 * math.log10(1 + hertz / 700) for hertz in (60.0, 7600.0))
    mel = torch.linspace(low, high, bands)
    hertz = 700 * (10 ** (mel / 2595) - 1)  # (bands,)
    time = (torch.arange(taps) - (taps - 1) / 2) / 16000  # (taps,)
    phase = torch.arange(4) * math.pi / 2
    waves = torch.cos(2 * math.pi * hertz[:, None, None] * time + phase[None, :, None])  # (bands, 4, taps)
    waves = waves * torch.hann_window(taps, periodic=False)
    return (waves / waves.square().sum(dim=-1, keepdim=True).sqrt()).reshape(-1, taps)[:channels]


def hubert_config(shape: Mapping[str, Any]) -> HubertConfig:
    """Make the configuration of transformers from ``shape``, which has its keys. Dropout and random masking are off.

    Raises InputError for an unknown key and for convolutions with another frame length than that of the labels.
    """
    unknown = sorted(set(shape) - set(HubertConfig().to_dict()))
    if unknown:
        raise InputError(f"model: {unknown[0]!r} is no key of transformers' HubertConfig")
    no_dropout = {f"{name}_dropout": 0.0 for name in ("hidden", "attention", "activation", "feat_proj", "final")}
    config = HubertConfig(
        **{**no_dropout, "layerdrop": 0.0, "mask_feature_prob": 0.0, **shape},
        mask_time_prob=0.65,  # at 0 the model has no embedding for masked frames; its value is not used
        apply_spec_augment=True,  # if false, the model ignores the mask it is given
    )
    stride, field = 1, 1  # samples
    for step, width in zip(config.conv_stride, config.conv_kernel):
        stride, field = stride * step, field + (width - 1) * stride
    if (stride, field) != (STRIDE, FIELD):
        raise InputError(
            f"model: conv_kernel and conv_stride make frames of {field} samples every {stride}, expected {FIELD} every "
            f"{STRIDE}, as labels have"
        )
    return config
