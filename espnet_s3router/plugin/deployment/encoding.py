"""What two models with the same encoder are compared by: their hidden states, and the time that encoding takes."""

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor

from espnet_s3router.progress import progress
from espnet_s3router.upstreams.count import SAMPLE_RATE


@torch.no_grad()
def hidden_states(model: Any, wave: Tensor) -> Tensor:
    """Output (frames, dim) of the encoder for audio (samples,)."""
    model.eval()
    return model.encode(wave[None], torch.tensor([len(wave)]))[0][0]


def real_time_factor(model: Any, waves: Sequence[Tensor]) -> float:
    """Seconds that encoding takes for each second of audio (samples,), one recording at a time. Median of three."""
    if not waves:
        return 0.0
    passes = []
    for _ in progress(range(4), "speed", "pass"):  # the first one warms up
        start = time.perf_counter()
        for wave in waves:
            hidden_states(model, wave)
        passes.append(time.perf_counter() - start)
    return median(passes[1:]) / (sum(map(len, waves)) / SAMPLE_RATE)


def largest_difference(model: Any, waves: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Between outputs of ``model`` and the ``expected`` ones, relative to the largest."""
    pairs = [(hidden_states(model, wave), values) for wave, values in zip(waves, expected)]
    return max((float((ours - theirs).abs().max() / theirs.abs().max()) for ours, theirs in pairs), default=0.0)
