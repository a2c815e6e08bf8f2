"""Whisper's log-mel vectors by a convolution: runtimes of ONNX compute it faster and more widely than a Fourier operator."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from espnet_s3router.plugin.upstreams.whisper_encoder import HOP, LogMel


class ConvolutionalLogMel(nn.Module):
    """Waveform (batch, samples) -> (batch, mels, samples // 160), with the values of ``LogMel``."""

    filters: Tensor
    waves: Tensor

    def __init__(self, log_mel: LogMel) -> None:
        super().__init__()
        size = log_mel.n_fft
        angle = 2 * torch.pi / size * torch.arange(size, dtype=torch.float64)
        phase = torch.arange(size // 2 + 1, dtype=torch.float64)[:, None] * angle  # (bins, size)
        waves = torch.cat([phase.cos(), phase.sin()]) * log_mel.window.double()
        self.register_buffer("waves", waves.float()[:, None], persistent=False)  # (2 * bins, 1, size)
        self.register_buffer("filters", log_mel.filters, persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        half = self.waves.shape[2] // 2
        padded = F.pad(waveforms[:, None], (half, half), mode="reflect")
        real, imaginary = F.conv1d(padded, self.waves, stride=HOP)[..., :-1].chunk(2, dim=1)
        levels = (self.filters @ (real.square() + imaginary.square())).clamp(min=1e-10).log10()
        return (torch.maximum(levels, levels.amax((1, 2), keepdim=True) - 8.0) + 4.0) / 4.0
