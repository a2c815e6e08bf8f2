"""Pruning in place: weights train as plain tensors, and removed weights are held at exact zero.

No mask is stored, and none is multiplied in the forward pass: a weight is removed if and only if it is zero. (A kept weight
that happens to be zero becomes the smallest normal number.) Momentum may move a removed weight; after each optimiser step it
is zero again. Its gradient is zero, as in ``torch.nn.utils.prune``, so it takes no part in the norm that clips gradients.

The model that is validated and saved after an epoch always has the final sparsity. While the sparsity still rises, further
weights are taken out for validation and put back afterwards. So the best epoch on the validation set may be any epoch.
Files of early epochs hold models that were pruned without adaptation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.masks.ranking import Ranking, n_of_m
from espnet_s3router.masks.straight_through import as_factor
from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.finetune import finetuned
from espnet_s3router.methods.options import SparsityOptions, check_path, sites_of
from espnet_s3router.methods.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class PruneConfig(SparsityOptions):
    """Trains the weights that ``finetune`` trains and holds some of them at zero."""

    biases: bool = False
    """Rank and remove the biases of the target matrices with them, as PARP's code does."""
    train_cnn: bool = False
    """Train the convolutional frontend too. The run that ``start`` comes from may have kept it frozen."""
    start: str | None = None
    """Model file of a finished run of method ``finetune`` on the same upstream: initial weights and head."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_path("start", self.start)
        if self.biases and n_of_m(self.ranking) is not None:
            raise InputError(f"mask_conf: biases with ranking {self.ranking} is a contradiction: a bias has no inputs")


@dataclass(kw_only=True)
class Pruned(Attached):
    """Removes the weights of the smallest magnitude (with a ``seed``: random weights). Removed weights never return."""

    sites: dict[str, nn.Parameter]
    """The tensors that are pruned, by path. All are in ``trained``."""
    ranking: Ranking
    schedule: Schedule
    seed: int | None = None
    rewind: str | bool = False
    """After each pruning, return to the pretrained weights of the upstream, or with "start" to those of ``start``."""
    _held: dict[str, Tensor] = field(default_factory=dict)
    """Masks of the sites, False for weights that are held at zero."""
    _removed: dict[str, Tensor] = field(default_factory=dict)
    """Between ``end_epoch`` and ``begin_epoch``: the weights that were taken out for validation, zero elsewhere."""
    _origin: dict[str, Tensor] = field(default_factory=dict)
    """The values to rewind to, until the last pruning."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, parameter in self.sites.items():
            parameter.register_hook(partial(self._mask_gradient, name))

    def _mask_gradient(self, name: str, grad: Tensor) -> Tensor:
        """Gradient hook of a site: zero for weights that are held at zero."""
        return grad * as_factor(self._held[name]) if name in self._held else grad

    @classmethod
    def of(cls, upstream: nn.Module, config: PruneConfig, schedule: Schedule, **options: Any) -> Self:
        """A handle that trains what ``finetune`` trains and will prune the targets. ``options`` are further fields."""
        trained, transformer = finetuned(upstream, config.train_cnn), finetuned(upstream, False)
        sites, ranking = _targets(upstream, trained, config), Ranking(config.ranking, config.rounding)
        options |= {"trained": trained, "startable": trained, "start_may_lack": frozenset(trained) - frozenset(transformer)}
        options |= {"sites": sites, "ranking": ranking, "schedule": schedule}
        return cls(upstream=upstream, **options)

    @torch.no_grad()
    def begin(self, start: Mapping[str, Tensor] | None = None, saliency: Mapping[str, Tensor] | None = None) -> None:
        pretrained = self._copies() if self.rewind is True else {}
        super().begin(start)
        self._origin = self._copies() if self.rewind == "start" else pretrained
        self._prune(self.schedule.at(0), saliency)
        self._rewind(0)

    def _copies(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.trained.items()}

    @torch.no_grad()
    def begin_epoch(self, epoch: int) -> None:
        for name, weights in self._removed.items():
            self.sites[name].add_(weights)
        self._removed = {}
        self._held = self.kept()

    @torch.no_grad()
    def step(self, update: int, optimizer: torch.optim.Optimizer) -> None:
        for name, mask in self._held.items():
            erase(self.sites[name], mask)
        if self.schedule.due(update):
            self._prune(self.schedule.at(update))
            self._rewind(update, optimizer)

    @torch.no_grad()
    def end_epoch(self) -> None:
        self._hold()  # a kept weight that is zero would count as removed
        masks = self.ranking.masks(self._saliency(), self.schedule.target)
        for name, parameter in self.sites.items():
            weights = parameter.masked_fill(masks[name], 0.0)
            if weights.any():
                self._removed[name] = weights
            hold(parameter, masks[name])
        self._check_count(self.sites)

    def kept(self) -> dict[str, Tensor]:
        return {name: parameter.detach() != 0 for name, parameter in self.sites.items()}

    def training_state(self) -> dict[str, Tensor]:
        return {f"removed.{name}": weights for name, weights in self._removed.items()}

    def training_state_bytes(self) -> int:
        return sum(parameter.numel() * parameter.element_size() for parameter in self.sites.values())

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        self._removed = {
            name: state[f"removed.{name}"].to(parameter.device)
            for name, parameter in self.sites.items()
            if f"removed.{name}" in state
        }

    @torch.no_grad()
    def finish_average(self, tensors: dict[str, Tensor]) -> None:
        """Prunes the average once more. Models of one mask share their zeros; models of different masks (PARP) do not."""
        averaged = {name: tensors[name] for name in self.sites}
        masks = self.ranking.masks(self._saliency(averaged), self.schedule.target)
        for name, tensor in averaged.items():
            hold(tensor, masks[name])
        self._check_count(averaged)

    def removed(self) -> int:
        return self.ranking.zeros({name: p.numel() for name, p in self.sites.items()}, self.schedule.target)

    def _check_count(self, tensors: Mapping[str, Tensor]) -> None:
        count = sum(tensor.numel() - int(torch.count_nonzero(tensor)) for tensor in tensors.values())
        assert count == self.removed(), f"{count} weights are zero, expected {self.removed()}"

    def _saliency(self, tensors: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Scores for the ranking, by the names of ``sites``. Random scores are the same in every call."""
        tensors = tensors or {name: parameter.detach() for name, parameter in self.sites.items()}
        if self.seed is None:
            return dict(tensors)
        generator = torch.Generator().manual_seed(self.seed)
        return {name: torch.rand(t.shape, generator=generator).to(t.device) for name, t in tensors.items()}

    def _prune(self, sparsity: float, saliency: Mapping[str, Tensor] | None = None) -> None:
        given = {name: saliency[name].to(p.device) for name, p in self.sites.items()} if saliency else self._saliency()
        self._held = self.ranking.masks(given, sparsity)
        self._hold()

    def _hold(self) -> None:
        for name, mask in self._held.items():
            hold(self.sites[name], mask)

    def _rewind(self, update: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Set the remaining weights to their values in ``_origin`` and the state of the optimiser to its initial zeros."""
        if not self._origin:
            return
        for name, value in self._origin.items():
            self.trained[name].copy_(value)
            for state in optimizer.state.get(self.trained[name], {}).values() if optimizer else ():
                if isinstance(state, Tensor):
                    state.zero_()  # as Adam and SGD start, the count of steps included
        self._hold()
        if update >= self.schedule.last:
            self._origin = {}


def erase(tensor: Tensor, mask: Tensor) -> None:
    """Set ``tensor`` to zero where ``mask`` (same shape, boolean) is False, in place."""
    tensor.mul_(as_factor(mask))


def hold(tensor: Tensor, mask: Tensor) -> None:
    """Make ``tensor`` zero where ``mask`` (same shape, boolean) is False, and nowhere else, in place."""
    erase(tensor, mask)
    kept_zeros = (tensor == 0).logical_and_(mask)
    if kept_zeros.any():
        tensor.masked_fill_(kept_zeros, torch.finfo(tensor.dtype).tiny)


def _targets(upstream: nn.Module, trained: Mapping[str, nn.Parameter], config: PruneConfig) -> dict[str, nn.Parameter]:
    """Target tensors by path, with ``biases`` those of their modules too. Raises InputError if one is not trained."""
    tensors = {}
    for site in sites_of(upstream, config.targets, config.ranking):
        bias = f"{site.name.rpartition('.')[0]}.bias"
        for name in (site.name, bias) if config.biases and bias in trained else (site.name,):
            if name not in trained:
                raise InputError(
                    f"mask_conf: targets hold {name}, which does not train. Set train_cnn: true or leave it out"
                )
            tensors[name] = trained[name]
    return tensors
