"""Keeping the output of the frozen convolutional frontend: nothing before the first trained tensor changes.

Features are computed per utterance, without padding, in evaluation mode, so wav2vec2-base's group norm (whose statistics
run over time) sees the same input in every epoch and batch; about 100 kB a second of audio at 512 channels.
"""

from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn


class ExtractorCache:
    """Replaces ``extractor.forward`` (waveforms (batch, samples) -> (batch, channels, frames)) by a remembered one.

    Utterances are recognised by their samples. When ``megabytes`` (MiB of main memory) are full, further utterances are
    computed anew each time.
    """

    def __init__(self, extractor: nn.Module, megabytes: int) -> None:
        self.lengths: Tensor | None = None
        """Samples of each utterance of the batch to come, set by the frontend."""
        self.hits = self.misses = 0
        self._extract = extractor.forward
        self._limit = megabytes * 2**20
        self._used = 0
        self._kept: dict[bytes, Tensor] = {}
        extractor.forward = self._forward

    def _forward(self, waveforms: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        samples = waveforms.shape[1]
        lengths = [samples] * len(waveforms)
        if self.lengths is not None and len(self.lengths) == len(waveforms):
            # s3prl pads the whole batch when all of it is shorter than 50 ms; never read past what is there
            lengths = [min(int(length) + samples - int(self.lengths.max()), samples) for length in self.lengths]
        features = [self._features(row[:length]) for row, length in zip(waveforms, lengths)]  # (channels, frames) each
        frames = max(feature.shape[1] for feature in features)
        padded = features[0].new_zeros(len(features), features[0].shape[0], frames)
        for row, feature in zip(padded, features):
            row[:, : feature.shape[1]] = feature
        return padded.to(waveforms.device)

    def _features(self, waveform: Tensor) -> Tensor:
        # training may run in bfloat16, evaluation does not: what one of them made is nothing to the other
        mixed = torch.is_autocast_enabled(waveform.device.type)
        key = blake2b(waveform.detach().cpu().numpy().tobytes() + bytes([mixed]), digest_size=16).digest()
        if key in self._kept:
            self.hits += 1
            return self._kept[key]
        self.misses += 1
        with torch.no_grad():
            feature = self._extract(waveform[None])[0].cpu()
        size = feature.numel() * feature.element_size()
        if self._used + size <= self._limit:
            self._used += size
            self._kept[key] = feature
        return feature
