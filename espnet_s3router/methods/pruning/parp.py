"""PARP: prune, adjust, re-prune (arXiv 2106.05933 sec. 3). Every weight trains. Removed weights start from zero and may
grow back.

Every n updates or epochs, the smallest weights are set to zero: W <- W * M, where M is the mask of |W| at the sparsity of
the schedule. The two forms differ between two prunings:

``hard_threshold`` (iterative hard thresholding, the form of the authors' code) has no mask there. Removed weights move from
zero at once and take part in the forward pass. The model is sparse only right after a pruning.

``remask`` (the paper's description) computes with W * M, while W gets the gradient of W * M without a mask. The hidden
values of removed weights move, but stay out of the forward pass. The next pruning ranks these values and decides which
weights come back; the others start from zero again.

In both forms, the pruned model is validated and saved.

The authors' runs are more than a form. They start from the pretrained model, rank biases too, and prune often enough that
learning rate x interval is 0.0025. Their PARP-P rises from the sparsity of its first mask until 90 to 100 % of the run. The
rows ``parp_authors`` and ``parp_p_authors`` of ``egs2/s3router/asterisk/prune1/conf/methods.yaml`` set all of this.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.methods.options import check, check_choice, check_count, check_path
from espnet_s3router.methods.pruning.in_place import PruneConfig, Pruned
from espnet_s3router.methods.schedule import ScheduleOptions

FORMS = ("hard_threshold", "remask")


@dataclass(frozen=True, kw_only=True)
class ParpConfig(ScheduleOptions, PruneConfig):
    """PARP: every weight trains, removed weights may grow back, and the smallest are removed again and again."""

    form: str = "hard_threshold"
    """hard_threshold (as between two prunings of the authors' code) or remask (the paper's description), see
    ``methods.pruning.parp``."""
    interval_epochs: int | None = None
    """Epochs between two prunings, instead of ``interval``."""
    initial_mask: str | None = None
    """Model file of another run on the same upstream, for example in another language. The first mask ranks its scores or
    weights instead of the initial weights of this run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_schedule(self.sparsity, self.ranking)
        if self.interval is not None and self.interval_epochs is not None:
            raise InputError("mask_conf: interval and interval_epochs exclude each other: remove one of them")
        check_choice("form", self.form, FORMS)
        check_count("interval_epochs", self.interval_epochs, 1)
        check_path("initial_mask", self.initial_mask)
        self.refuse_idle_mask(self.initial_mask)


@dataclass(frozen=True, kw_only=True)
class ParpPConfig(ParpConfig):
    """PARP-P: the sparsity rises while the weights are adjusted."""

    schedule: str = "linear"
    """linear (the paper's) or cubic."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.schedule != "constant", "schedule", self.schedule, "linear or cubic (constant is method parp)")


@dataclass(kw_only=True)
class HardThreshold(Pruned):
    """Weights move freely between two prunings."""

    interval_epochs: int | None = None

    def _mask_gradient(self, name: str, grad: Tensor) -> Tensor:
        """Removed weights learn."""
        return grad

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
        """Let removed weights move until the next pruning."""
        self._held = {}


@dataclass(kw_only=True)
class Remask(HardThreshold):
    """The mask acts until the next pruning, while the hidden values of removed weights move."""

    _hidden: dict[str, Tensor] = field(default_factory=dict)
    """Values of the removed weights by path of the site, zero where a weight is kept."""

    def begin(self, start: Mapping[str, Tensor] | None = None, saliency: Mapping[str, Tensor] | None = None) -> None:
        super().begin(start, saliency)
        self._hidden = {name: torch.zeros_like(parameter) for name, parameter in self.sites.items()}

    @torch.no_grad()
    def step(self, update: int, optimizer: torch.optim.Optimizer) -> None:
        for name, parameter in self.sites.items():
            moved = parameter.masked_fill(self._held[name], 0.0)
            self._hidden[name].add_(moved)
            parameter.sub_(moved)
        super().step(update, optimizer)

    def _prune(self, sparsity: float, saliency: Mapping[str, Tensor] | None = None) -> None:
        for name, hidden in self._hidden.items():
            self.sites[name].add_(hidden)
            hidden.zero_()
        super()._prune(sparsity, saliency)

    def _release(self) -> None:
        """The mask stays until the next pruning."""

    def training_state(self) -> dict[str, Tensor]:
        return super().training_state() | {f"hidden.{name}": hidden for name, hidden in self._hidden.items()}

    def training_state_bytes(self) -> int:
        return 2 * super().training_state_bytes()  # the hidden weights are as large

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        super().load_training_state(state)
        self._hidden = {name: state[f"hidden.{name}"].to(parameter.device) for name, parameter in self.sites.items()}


def parp(upstream: nn.Module, config: ParpConfig) -> HardThreshold:
    """Prune again and again at the sparsity of the schedule: constant for ``parp``, rising for ``parp_p``."""
    ramp = config.ramp(config.sparsity)
    schedule = replace(ramp, repeats=True, interval=ramp.interval if config.interval_epochs is None else None)
    kind = HardThreshold if config.form == "hard_threshold" else Remask
    return kind.of(upstream, config, schedule, interval_epochs=config.interval_epochs)
