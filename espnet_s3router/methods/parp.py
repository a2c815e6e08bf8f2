"""PARP: prune, adjust, re-prune (arXiv 2106.05933). Every weight trains; removed ones start from zero and may grow back.

At each re-pruning, every n updates or epochs, the smallest weights are set to zero: W <- W * M, with M the mask of |W| at
the sparsity of the schedule. The two forms differ in between:

``hard_threshold`` (the authors' code: iterative hard thresholding) has no mask there. Removed weights move from zero at once
and take part in the forward pass; the model is sparse right after a re-pruning only.

``remask`` (the paper's description) computes with W * M there, while W gets the gradient of W * M without a mask. Removed
weights move out of sight, and the mask is applied until the next re-pruning decides, by their size, which of them come back;
those that do not begin at zero again.

In both, the model that is validated and saved is the pruned one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from espnet_s3router.methods.in_place_pruning import Pruned
from espnet_s3router.methods.magnitude_pruning import prunable
from espnet_s3router.methods.pruning_config import ParpConfig


@dataclass(kw_only=True)
class HardThreshold(Pruned):
    """Weights move freely between two prunings."""

    interval_epochs: int | None = None

    def begin_epoch(self, epoch: int) -> None:
        super().begin_epoch(epoch)
        if self.interval_epochs and epoch > 1 and (epoch - 1) % self.interval_epochs == 0:
            with torch.no_grad():
                self._prune(self.schedule.at(self.update))
        self._release()

    @torch.no_grad()
    def step(self, update: int, optimizer: torch.optim.Optimizer) -> None:
        if self.schedule.due(update):
            self._prune(self.schedule.at(update))
            self._release()

    def _release(self) -> None:
        self._held = {}


@dataclass(kw_only=True)
class Remask(HardThreshold):
    """Removed weights move out of sight: ``_hidden`` is what they have become, zero where a weight is kept."""

    _hidden: dict[str, Tensor] = field(default_factory=dict)

    def begin(self, start: Mapping[str, Tensor] | None = None, ranked: Mapping[str, Tensor] | None = None) -> None:
        super().begin(start, ranked)
        self._hidden = {name: torch.zeros_like(parameter) for name, parameter in self.sites.items()}

    @torch.no_grad()
    def step(self, update: int, optimizer: torch.optim.Optimizer) -> None:
        for name, parameter in self.sites.items():
            moved = parameter.masked_fill(self._held[name], 0.0)
            self._hidden[name].add_(moved)
            parameter.sub_(moved)
        super().step(update, optimizer)

    def _prune(self, sparsity: float, ranked: Mapping[str, Tensor] | None = None) -> None:
        for name, hidden in self._hidden.items():
            self.sites[name].add_(hidden)
            hidden.zero_()
        super()._prune(sparsity, ranked)

    def _release(self) -> None:
        """The mask holds until the next pruning."""

    def training_state(self) -> dict[str, Tensor]:
        return super().training_state() | {f"hidden.{name}": hidden for name, hidden in self._hidden.items()}

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        super().load_training_state(state)
        self._hidden = {name: state[f"hidden.{name}"].to(parameter.device) for name, parameter in self.sites.items()}


def parp(upstream: nn.Module, config: ParpConfig) -> HardThreshold:
    """Re-pruning at the sparsity of the schedule: constant for ``parp``, rising for ``parp_p``."""
    schedule = replace(config.ramp(config.sparsity), repeats=True)
    if config.interval_epochs is not None:
        schedule = replace(schedule, interval=None)
    attached = prunable(upstream, config, HardThreshold if config.form == "hard_threshold" else Remask, schedule=schedule)
    attached.interval_epochs = config.interval_epochs
    return attached
