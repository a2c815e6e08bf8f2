"""Layers in operations that ONNX holds well: attention in plain matrix products, and norms that ignore padding."""

from typing import Any

import torch
from torch import Tensor, nn


def valid(lengths: Tensor, size: int) -> Tensor:
    """(batch,) lengths -> (batch, size): True where an entry belongs to an utterance."""
    return torch.arange(size, device=lengths.device)[None] < lengths[:, None]


def attention_bias(mask: Tensor) -> Tensor:
    """(batch, frames) -> (batch, 1, 1, frames): what is added to the scores of attention, 0 on the frames of ``mask``.

    It is finite, so a row without frames gives no NaN.
    """
    return torch.where(mask, 0.0, torch.finfo(torch.float32).min)[:, None, None]


class BiasAlone(nn.Module):
    """A linear map whose inputs were all removed: (batch, frames, anything) -> its bias at each frame, or zeros without one.

    ONNX runtimes do not all multiply matrices without rows.
    """

    def __init__(self, linear: Any) -> None:
        super().__init__()
        self.bias, self.outputs = linear.bias, linear.out_features

    def forward(self, x: Tensor) -> Tensor:
        bias = x.new_zeros(self.outputs) if self.bias is None else self.bias
        return bias.expand(x.shape[0], x.shape[1], -1)


class Attention(nn.Module):
    """Self-attention with the projections of another attention module, which keep their paths.

    A block without heads gives the bias of its last projection, if that is left. A subclass takes the arguments that a layer
    of its family passes.
    """

    def __init__(self, own: Any, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = own.q_proj, own.k_proj, own.v_proj
        self.out_proj = own.out_proj if heads else BiasAlone(own.out_proj)

    def mix(self, x: Tensor, bias: Tensor) -> Tensor:
        """(batch, frames, dim) -> (batch, frames, dim); ``bias`` of ``attention_bias``."""
        if not self.heads:
            return self.out_proj(x)
        q, k, v = (
            projection(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (batch, heads, frames, dim / heads)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3) + bias
        return self.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class FairseqAttention(Attention):
    """As a layer in the style of fairseq calls it."""

    def forward(self, query: Tensor, key_padding_mask: Tensor, **unused: Any) -> tuple[Tensor, None]:
        """``key_padding_mask`` is the bias."""
        return self.mix(query, key_padding_mask), None


class HuggingFaceAttention(Attention):
    """As a layer of transformers calls it."""

    def forward(self, hidden_states: Tensor, attention_mask: Tensor, **unused: Any) -> tuple[Tensor, None]:
        """``attention_mask`` is the bias."""
        return self.mix(hidden_states, attention_mask), None


class WhisperAttention(Attention):
    """As a layer of our Whisper encoder calls it."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``mask`` is the bias."""
        return self.mix(x, mask)


def normalized_waves(waves: Tensor, samples: Tensor, epsilon: float) -> Tensor:
    """(batch, samples) with mean 0 and variance 1 of each utterance, and zeros behind its end."""
    mask = valid(samples, waves.shape[1])
    count = samples[:, None]
    mean = torch.where(mask, waves, 0.0).sum(1, keepdim=True) / count
    centred = torch.where(mask, waves - mean, 0.0)
    variance = centred.square().sum(1, keepdim=True) / count
    return centred / (variance + epsilon).sqrt()


def group_norm(norm: nn.GroupNorm, x: Tensor, frames: Tensor) -> Tensor:
    """``norm`` of (batch, channels, frames), with the statistics of the first ``frames`` (batch,) of each utterance."""
    mask = valid(frames, x.shape[2])[:, None, None]  # (batch, 1, 1, frames)
    grouped = x.unflatten(1, (norm.num_groups, -1))
    count = (frames * grouped.shape[2])[:, None, None, None]
    mean = torch.where(mask, grouped, 0.0).sum((2, 3), keepdim=True) / count
    centred = grouped - mean
    variance = torch.where(mask, centred, 0.0).square().sum((2, 3), keepdim=True) / count
    out = (centred / (variance + norm.eps).sqrt()).flatten(1, 2)
    return out if norm.weight is None else out * norm.weight[:, None] + norm.bias[:, None]


def without_weight_norm(module: nn.Module) -> None:
    """Write weights that weight normalisation computes as plain ones, in place."""
    from torch.nn.utils import parametrize, remove_weight_norm
    from torch.nn.utils.weight_norm import WeightNorm

    for part in module.modules():
        if parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight", leave_parametrized=True)
        if any(isinstance(hook, WeightNorm) for hook in part._forward_pre_hooks.values()):
            remove_weight_norm(part)
