"""A cache for the output of the frozen convolutional frontend, which never changes during training.

Features are computed for each utterance alone, without padding. So the group norm of wav2vec2 base, whose statistics run
over time, sees the same input in every epoch and batch. A second of audio takes about 100 kB at 512 channels.
"""

from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn


class ExtractorCache:
    """Replaces ``extractor.forward``, waveforms (batch, samples) -> (batch, channels, frames), by a cached version.

    Utterances are recognised by their samples. When ``megabytes`` (MiB of main memory) are full, features of further
    utterances are computed each time.
    """

    def __init__(self, extractor: nn.Module, megabytes: int) -> None:
        self.lengths: Tensor | None = None
        """Samples of each utterance in the next batch; the frontend sets it."""
        self.hits = self.misses = 0
        self._extract = extractor.forward
        self._limit = megabytes * 2**20
        self._used = 0
        self._stored: dict[bytes, Tensor] = {}
        extractor.forward = self._forward

    def _forward(self, waveforms: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        samples = waveforms.shape[1]
        lengths = [samples] * len(waveforms)
        if self.lengths is not None and len(self.lengths) == len(waveforms):
            # s3prl pads a batch in which every utterance is shorter than 50 ms; never read beyond its end
            lengths = [min(int(length) + samples - int(self.lengths.max()), samples) for length in self.lengths]
        features = [self._features(row[:length]) for row, length in zip(waveforms, lengths)]  # (channels, frames) each
        frames = max(feature.shape[1] for feature in features)
        padded = features[0].new_zeros(len(features), features[0].shape[0], frames)
        for row, feature in zip(padded, features):
            row[:, : feature.shape[1]] = feature
        return padded.to(waveforms.device)

    def _features(self, waveform: Tensor) -> Tensor:
        # training may run in bfloat16, evaluation never does: their features are stored separately
        mixed = torch.is_autocast_enabled(waveform.device.type)
        key = blake2b(waveform.detach().cpu().numpy().tobytes() + bytes([mixed]), digest_size=16).digest()
        if key in self._stored:
            self.hits += 1
            return self._stored[key]
        self.misses += 1
        with torch.no_grad():
            feature = self._extract(waveform[None])[0].cpu()
        size = feature.numel() * feature.element_size()
        if self._used + size <= self._limit:
            self._used += size
            self._stored[key] = feature
        return feature
