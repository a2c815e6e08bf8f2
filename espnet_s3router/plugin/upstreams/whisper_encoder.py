"""Whisper's encoder (arXiv 2212.04356 sec. 2.2) for recordings of any length: waveform -> hidden states of every layer.

The original pads every recording to 30 s of audio and attends to the silence. Here attention does not see frames beyond an
utterance's end. So the cost grows with the audio, and an utterance's output does not depend on its batch.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HOP = 160
"""Samples between two log-mel vectors."""
STRIDE = 2 * HOP
"""Samples between two frames: the second convolution has stride 2."""


class LogMel(nn.Module):
    """Waveform (batch, samples at 16 kHz) -> log-mel vectors (batch, mels, samples // 160).

    The values equal those of transformers' ``WhisperFeatureExtractor``. They are limited relative to the largest value of
    the same utterance, which silence at its end does not change.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, filters: Tensor, n_fft: int) -> None:
        """``filters`` (mels, n_fft // 2 + 1)."""
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(n_fft, device=filters.device), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        with torch.autocast(waveforms.device.type, enabled=False):  # a logarithm of small powers needs float32
            spectrum = torch.stft(waveforms.float(), self.n_fft, HOP, window=self.window, return_complex=True)
            power = spectrum[..., :-1].abs().square()  # (batch, bins, vectors)
            levels = (self.filters @ power).clamp(min=1e-10).log10()
            return (torch.maximum(levels, levels.amax((1, 2), keepdim=True) - 8.0) + 4.0) / 4.0


class Extractor(nn.Module):
    """Waveform (batch, samples) -> (batch, dim, ceil(samples / 320)): log-mel vectors and two convolutions.

    Recordings are processed in windows of ``frames`` frames, the length of the model's training examples (30 s). Beyond
    the audio the convolutions see silence, so padding with zeros changes nothing.
    """

    def __init__(self, log_mel: LogMel, dim: int, frames: int) -> None:
        super().__init__()
        self.log_mel = log_mel
        self.frames = frames
        self.conv1 = nn.Conv1d(log_mel.filters.shape[0], dim, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(dim, dim, kernel_size=3, stride=2, padding=1)

    def forward(self, waveforms: Tensor) -> Tensor:
        return torch.cat([self._window(piece) for piece in waveforms.split(self.frames * STRIDE, dim=1)], dim=2)

    def _window(self, waveforms: Tensor) -> Tensor:
        samples = waveforms.shape[1]
        frames = -(-samples // STRIDE)
        # the convolutions see one frame of silence, unless the window is full
        silence = min(frames + 1, self.frames) * STRIDE - samples
        x = F.gelu(self.conv1(self.log_mel(F.pad(waveforms, (0, silence)))))  # (batch, dim, 2 * frames + 2)
        return F.gelu(self.conv2(x))[:, :, :frames]


class Attention(nn.Module):
    """Self-attention (batch, frames, dim) -> (batch, frames, dim); Whisper's keys have no bias."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """``mask`` (batch, 1, 1, frames) is True on frames that may be attended to; None means all frames."""
        q, k, v = (
            projection(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (batch, heads, frames, dim / heads)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """A pre-norm Transformer layer, (batch, frames, dim) -> (batch, frames, dim)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        dim, inner = config.d_model, config.encoder_ffn_dim
        self.self_attn = Attention(dim, config.encoder_attention_heads, config.attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, inner)
        self.fc2 = nn.Linear(inner, dim)
        self.final_layer_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(config.dropout)
        self.activation_dropout = nn.Dropout(config.activation_dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.dropout(self.self_attn(self.self_attn_layer_norm(x), mask))
        hidden = self.activation_dropout(F.gelu(self.fc1(self.final_layer_norm(x))))
        return x + self.dropout(self.fc2(hidden))


class Encoder(nn.Module):
    """The Transformer. It returns the input of every layer, and the last output after the final norm."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.encoder_layers)])
        self.layer_norm = nn.LayerNorm(config.d_model)

    def forward(self, x: Tensor, mask: Tensor | None) -> list[Tensor]:
        x = self.dropout(x)
        states = []
        for layer in self.layers:
            states.append(x)
            x = layer(x, mask)
        return [*states, self.layer_norm(x)]


class Whisper(nn.Module):
    """Waveforms -> hidden states; ``config`` has the attributes of transformers' ``WhisperConfig``."""

    positions: Tensor

    def __init__(self, config: Any, log_mel: LogMel) -> None:
        super().__init__()
        self.extractor = Extractor(log_mel, config.d_model, config.max_source_positions)
        self.latent = nn.Identity()  # latent masking changes its output (batch, frames, dim)
        self.register_buffer("positions", torch.empty(config.max_source_positions, config.d_model))
        self.encoder = Encoder(config)

    def forward(self, waveforms: Tensor, samples: Tensor) -> list[Tensor]:
        """(batch, samples), zero-padded, and each length -> input of every layer and the last output, each of shape
        (batch, ceil(samples / 320), dim). Values beyond an utterance's end are undefined."""
        x = self.latent(self.extractor(waveforms).transpose(1, 2))
        batch, frames, dim = x.shape
        width = min(frames, len(self.positions))
        windows = -(-frames // width)
        x = F.pad(x, (0, 0, 0, windows * width - frames)).view(batch * windows, width, dim)
        left = (samples[:, None] + STRIDE - 1) // STRIDE - width * torch.arange(windows)  # frames from each window's start
        # a window of padding attends to its first frame: attention to no frame would give NaN
        mask = torch.arange(width) < left.clamp(min=1).view(-1, 1)
        states = self.encoder(x + self.positions[:width], None if mask.all() else mask[:, None, None].to(x.device))
        return [state.view(batch, windows * width, dim)[:, :frames] for state in states]
