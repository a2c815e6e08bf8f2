"""Gates on groups of units: random while the model trains, and closed for good units when it is evaluated.

A gate module holds one number for each unit of a group, for example the heads of a layer. ``Gates`` holds all groups. In
evaluation it decides how many units each group keeps, so that the model has the sparsity of the run.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from espnet_s3router.methods.structured import hard_concrete

KINDS = ("hard_concrete", "binary")


class Gate(nn.Module):
    """Gates of a group of units; ``log_alpha`` (units,) is trained.

    ``kind``: hard_concrete, or binary: 0 or 1 by the sign of ``log_alpha``, with the gradient of the sigmoid (a
    straight-through estimator).
    """

    def __init__(self, log_alpha: Tensor, kind: str) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(log_alpha)
        self.kind = kind
        self.noise: Tensor | None = None
        """Noise of the present forward pass; None in evaluation."""
        self.kept: Callable[[], Tensor] = self._all
        """Boolean (units,): the units that are open in evaluation."""
        self.shift = 0.0
        """What is subtracted from ``log_alpha``; not 0 only where one run has several sizes."""

    def _all(self) -> Tensor:
        return torch.ones_like(self.log_alpha, dtype=torch.bool)

    def forward(self) -> Tensor:
        """Values (units,) in [0, 1]."""
        if self.noise is None:
            kept = self.kept()  # first: it may change the shift
            return self._values() * kept
        if self.kind == "binary":
            return switches(self.log_alpha - self.shift)
        return hard_concrete.sample(self.log_alpha - self.shift, self.noise)

    def _values(self) -> Tensor:
        """Values of open gates in evaluation."""
        if self.kind == "binary":
            return torch.ones_like(self.log_alpha) + (self.log_alpha - self.log_alpha.detach())
        return hard_concrete.evaluated(self.log_alpha - self.shift)

    def expected(self, shift: float) -> float:
        """Expected number of open units if all log alphas were lower by ``shift``."""
        lowered = self.log_alpha.detach().double().cpu() - shift
        odds = torch.sigmoid(lowered) if self.kind == "binary" else hard_concrete.open_probability(lowered)
        return float(odds.sum())


@dataclass
class Gates:
    """All gates of an upstream by the name of their group."""

    groups: dict[str, Gate]
    counts: Callable[[], dict[str, int]]
    """Units that each group keeps in evaluation, for the present log alphas."""
    lower: Callable[[], float] = lambda: 0.0
    """What is subtracted from all log alphas in evaluation."""
    _masks: dict[str, Tensor] = field(default_factory=dict)
    _versions: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, gate in self.groups.items():
            gate.kept = lambda name=name: self.masks()[name]  # type: ignore[misc]

    def parameters(self) -> list[nn.Parameter]:
        """What is trained: the log alphas."""
        return [gate.log_alpha for gate in self.groups.values()]

    @property
    def shift(self) -> float:
        """What all groups subtract from their log alphas."""
        return next(iter(self.groups.values())).shift

    @shift.setter
    def shift(self, value: float) -> None:
        for gate in self.groups.values():
            gate.shift = value

    def expected(self, shift: float = 0.0) -> Tensor:
        """Expected number of open units of each group (groups,) if all log alphas are lower by ``shift``, with gradients."""
        gates = list(self.groups.values())
        log_alphas = torch.cat([gate.log_alpha for gate in gates]) - shift
        group = torch.repeat_interleave(torch.tensor([len(gate.log_alpha) for gate in gates])).to(log_alphas.device)
        opened = switches(log_alphas) if gates[0].kind == "binary" else hard_concrete.open_probability(log_alphas)
        return opened.new_zeros(len(gates)).index_add(0, group, opened)

    def draw(self) -> None:
        """Draw new noise for every gate: the model is in training."""
        for gate in self.groups.values():
            gate.noise = hard_concrete.noise_like(gate.log_alpha.detach())

    def settle(self) -> None:
        """Leave training: gates have the values of evaluation."""
        self._masks = {}  # fused optimisers change tensors without their version counters
        for gate in self.groups.values():
            gate.noise = None

    def masks(self) -> dict[str, Tensor]:
        """Boolean (units,) by group, True for units that are open in evaluation. They change with the log alphas alone."""
        # autograd could not use masks made under inference_mode later
        with torch.inference_mode(False), torch.no_grad():
            return self._current_masks()

    def _current_masks(self) -> dict[str, Tensor]:
        versions = tuple(parameter._version for parameter in self.parameters())
        device = self.parameters()[0].device
        if not self._masks or versions != self._versions or next(iter(self._masks.values())).device != device:
            counts, self.shift = self.counts(), self.lower()
            self._masks = {name: largest(gate.log_alpha.detach(), counts[name]) for name, gate in self.groups.items()}
            self._versions = versions
        return self._masks


def switches(log_alpha: Tensor) -> Tensor:
    """Binary gates: exactly 0 or 1, with the gradient of the sigmoid."""
    soft = torch.sigmoid(log_alpha)
    return (soft > 0.5) + (soft - soft.detach())


def largest(values: Tensor, count: int) -> Tensor:
    """Boolean mask of the ``count`` largest values; of equal ones the first."""
    mask = torch.zeros_like(values, dtype=torch.bool)
    mask[torch.sort(values, descending=True, stable=True).indices[:count]] = True
    return mask
