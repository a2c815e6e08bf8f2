"""The augmented Lagrangian of HJ-Pruning (arXiv 2302.14132 eq. 5): lambda_1 (s - t) + lambda_2 (s - t)^2.

The model descends on it, the multipliers ascend.
"""

import torch
from torch import Tensor, nn


class Lagrangian:
    """Multipliers (constraints, 2), initially zero. They are no part of the model."""

    def __init__(self, constraints: int) -> None:
        self.multipliers = nn.Parameter(torch.zeros(constraints, 2))

    def move_to(self, device: torch.device) -> None:
        """Move the multipliers, if they are elsewhere, before an optimiser holds them."""
        if self.multipliers.device != device:
            self.multipliers = nn.Parameter(self.multipliers.detach().to(device))

    def __call__(self, sparsities: Tensor, targets: Tensor) -> Tensor:
        """The scalar penalty for sparsities and their present targets, both (constraints,)."""
        excess = sparsities - targets
        return (self.multipliers * torch.stack([excess, excess.square()], dim=1)).sum()
