"""The hard concrete distribution on [0, 1], which gives exactly 0 or 1 at times (Louizos et al., arXiv 1712.01312)."""

import math

import torch
from torch import Tensor

TEMPERATURE = 2 / 3
"""beta of the paper (sec. 4)."""
LOW, HIGH = -0.1, 1.1
"""gamma and zeta of the paper: the interval that the concrete distribution is stretched to."""
NOISE_LIMIT = 1e-6
"""Noise lies in [1e-6, 1 - 1e-6], as in the code of DPHuBERT."""
SHARPNESS = 0.8
"""Factor of log alpha in the values of evaluation, as in the code of DPHuBERT."""


def initial(size: int, closed: float, generator: torch.Generator) -> Tensor:
    """log alpha (size,) around the log odds of ``closed``, with a standard deviation of 0.01 (as in DPHuBERT's code)."""
    return math.log((1 - closed) / closed) + 0.01 * torch.randn(size, generator=generator)


def noise_like(log_alpha: Tensor) -> Tensor:
    """Uniform noise in the shape of ``log_alpha``, from torch's own generator."""
    return torch.empty_like(log_alpha).uniform_(NOISE_LIMIT, 1 - NOISE_LIMIT)


def sample(log_alpha: Tensor, noise: Tensor) -> Tensor:
    """Gates in [0, 1] for uniform ``noise`` in (0, 1), eq. 10 and 11 of the paper."""
    concrete = torch.sigmoid((torch.log(noise) - torch.log(1 - noise) + log_alpha) / TEMPERATURE)
    return (concrete * (HIGH - LOW) + LOW).clamp(0.0, 1.0)


def open_probability(log_alpha: Tensor) -> Tensor:
    """The probability that a gate is not 0, eq. 12 of the paper."""
    return torch.sigmoid(log_alpha - TEMPERATURE * math.log(-LOW / HIGH))


def evaluated(log_alpha: Tensor) -> Tensor:
    """Values of open gates in evaluation, in (0, 1): those of DPHuBERT's code, near the mean of ``sample``."""
    return torch.sigmoid(log_alpha / TEMPERATURE * SHARPNESS)
