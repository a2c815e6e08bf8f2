"""The augmented Lagrangian of HJ-Pruning (arXiv 2302.14132 eq. 5): lambda_1 (s - t) + lambda_2 (s - t)^2.

The model descends on it, the multipliers ascend.
"""

import torch
from torch import Tensor, nn


class Lagrangian:
    """Multipliers (constraints, 2), initially zero. They are no part of the model."""

    def __init__(self, constraints: int) -> None:
        self.multipliers = nn.Parameter(torch.zeros(constraints, 2))

    def __call__(self, sparsities: Tensor, targets: Tensor) -> Tensor:
        """The scalar penalty for sparsities and their present targets, both (constraints,)."""
        if self.multipliers.device != sparsities.device:
            self.multipliers.data = self.multipliers.data.to(sparsities.device)
        excess = sparsities - targets
        return (self.multipliers * torch.stack([excess, excess.square()], dim=1)).sum()
