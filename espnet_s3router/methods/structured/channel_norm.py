"""A layer norm over channels of which some are removed: they still count as zeros in its statistics.

Without them, mean and variance would change. A model without these channels would give other outputs than one whose gates
close them.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class ChannelNorm(nn.Module):
    """Layer norm over the channels of (batch, frames, channels), or of (batch, channels, frames) if ``transposed``.

    ``width`` is the number of channels before any was removed. Half precision is computed in float32.
    """

    gate: nn.Module | None

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter, *, width: int, eps: float, transposed: bool) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.width, self.eps, self.transposed = width, eps, transposed
        object.__setattr__(self, "gate", None)  # no submodule: the parameter belongs to the tensor that the gate scales

    @classmethod
    def of(cls, norm: nn.Module) -> "ChannelNorm":
        """The same norm, with the parameters of ``norm`` (a layer norm of any of the families, or a ``ChannelNorm``)."""
        if isinstance(norm, cls):
            return norm
        assert isinstance(norm, nn.LayerNorm), type(norm)
        transposed = type(norm).__module__.startswith("torchaudio.")
        return cls(norm.weight, norm.bias, width=norm.normalized_shape[0], eps=norm.eps, transposed=transposed)

    def close(self, gate: nn.Module | None) -> None:
        """Set channels to zero, before and behind the norm, where ``gate`` is closed. None: nowhere."""
        object.__setattr__(self, "gate", gate)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(-2, -1) if self.transposed else x
        kind = x.dtype
        wide = x.float() if kind in (torch.float16, torch.bfloat16) else x
        if self.gate is None:
            x = self._normalised(wide).to(kind)
        else:
            channels = (self.gate().detach() > 0).to(wide.dtype)
            x = (self._normalised(wide * channels) * channels).to(kind)
        return x.transpose(-2, -1) if self.transposed else x

    def _normalised(self, x: Tensor) -> Tensor:
        """The norm over the channels and the ``width - channels`` zeros that were removed."""
        if len(self.weight) == self.width:
            return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
        mean = x.sum(-1, keepdim=True) / self.width
        centred = x - mean
        removed = self.width - x.shape[-1]
        variance = (centred.square().sum(-1, keepdim=True) + removed * mean.square()) / self.width
        return centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias

    def extra_repr(self) -> str:
        return f"{len(self.weight)} of {self.width} channels"
