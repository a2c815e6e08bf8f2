"""Pruning in place: weights train as plain tensors, and those that are removed are held at exact zero.

No mask is stored, and none is multiplied in the forward pass: a weight is removed if and only if it is zero. (A weight that
is kept and happens to be zero becomes the smallest normal number.) After each optimiser step the removed weights, which
momentum or a gradient may have moved, are zero again.

What is validated and saved after an epoch is always exactly as sparse as the run is to end: while the sparsity still rises,
the weights that have yet to go are taken out for that time and put back afterwards. So every file of a run may be chosen by
its score on dev; those of early epochs are models that were pruned without being adapted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from espnet_s3router.masks.straight_through import as_factor
from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.ranking import Ranking
from espnet_s3router.methods.schedule import Schedule


@dataclass(kw_only=True)
class Pruned(Attached):
    """Removes the weights of the smallest magnitude (or, with a ``seed``, random ones) and never gives one back."""

    sites: dict[str, nn.Parameter]
    """The tensors that are pruned, by path; each is in ``trained``."""
    ranking: Ranking
    schedule: Schedule
    seed: int | None = None
    rewind: bool = False
    """After each pruning return to the weights that the upstream came with."""
    _held: dict[str, Tensor] = field(default_factory=dict)
    """Masks of the weights that are held at zero."""
    _removed: dict[str, Tensor] = field(default_factory=dict)
    """Between ``end_epoch`` and ``begin_epoch``: what was taken out of the tensors, zero elsewhere."""
    _pretrained: dict[str, Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def begin(self, start: Mapping[str, Tensor] | None = None, ranked: Mapping[str, Tensor] | None = None) -> None:
        if self.rewind:
            self._pretrained = {name: parameter.detach().clone() for name, parameter in self.trained.items()}
        super().begin(start)
        self._prune(self.schedule.at(0), ranked)
        self._rewind(0)

    @torch.no_grad()
    def begin_epoch(self, epoch: int) -> None:
        for name, taken in self._removed.items():
            self.sites[name].add_(taken)
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
        self._hold()  # lest a kept weight that is zero count as removed
        masks = self.ranking.masks(self._saliency(), self.schedule.target)
        for name, parameter in self.sites.items():
            taken = parameter.masked_fill(masks[name], 0.0)
            if taken.any():
                self._removed[name] = taken
            hold(parameter, masks[name])
        self._check_count(self.sites)

    def kept(self) -> dict[str, Tensor]:
        return {name: parameter.detach() != 0 for name, parameter in self.sites.items()}

    def training_state(self) -> dict[str, Tensor]:
        return {f"removed.{name}": taken for name, taken in self._removed.items()}

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        self._removed = {
            name: state[f"removed.{name}"].to(parameter.device)
            for name, parameter in self.sites.items()
            if f"removed.{name}" in state
        }

    @torch.no_grad()
    def finish_average(self, tensors: dict[str, Tensor]) -> None:
        """Models of one mask share their zeros; where masks differ (PARP) the average is pruned once more."""
        averaged = {name: tensors[name] for name in self.sites}
        masks = self.ranking.masks(self._saliency(averaged), self.schedule.target)
        for name, tensor in averaged.items():
            hold(tensor, masks[name])
        self._check_count(averaged)

    def bytes_added(self) -> int:
        """Bytes to store beside the shared base: for a pruned tensor one bit per weight (rounded up) and the weights that
        are left in fp32, fp32 for every other trained parameter."""
        numel = sum(parameter.numel() for parameter in self.trained.values())
        return sum(-(-p.numel() // 8) for p in self.sites.values()) + 4 * (numel - self._zeros())

    def _zeros(self) -> int:
        return self.ranking.zeros({name: p.numel() for name, p in self.sites.items()}, self.schedule.target)

    def _check_count(self, tensors: Mapping[str, Tensor]) -> None:
        found = sum(tensor.numel() - int(torch.count_nonzero(tensor)) for tensor in tensors.values())
        assert found == self._zeros(), f"{found} weights are zero, expected {self._zeros()}"

    def _saliency(self, tensors: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """What the ranking goes by, with the names of ``sites``; the same at every call where it is random."""
        tensors = tensors or {name: parameter.detach() for name, parameter in self.sites.items()}
        if self.seed is None:
            return dict(tensors)
        generator = torch.Generator().manual_seed(self.seed)
        return {name: torch.rand(t.shape, generator=generator).to(t.device) for name, t in tensors.items()}

    def _prune(self, sparsity: float, ranked: Mapping[str, Tensor] | None = None) -> None:
        device = {name: parameter.device for name, parameter in self.sites.items()}
        saliency = {name: ranked[name].to(device[name]) for name in self.sites} if ranked else self._saliency()
        self._held = self.ranking.masks(saliency, sparsity)
        self._hold()

    def _hold(self) -> None:
        for name, mask in self._held.items():
            hold(self.sites[name], mask)

    def _rewind(self, update: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """What is left returns to its pretrained value, and the optimiser forgets how it came to the present one."""
        if not self._pretrained:
            return
        for name, value in self._pretrained.items():
            self.trained[name].copy_(value)
            for remembered in optimizer.state.get(self.trained[name], {}).values() if optimizer else ():
                if isinstance(remembered, Tensor):
                    remembered.zero_()  # as Adam and SGD begin; the count of steps too
        self._hold()
        if update >= self.schedule.last:
            self._pretrained = {}


def erase(tensor: Tensor, mask: Tensor) -> None:
    """Set ``tensor`` to zero where ``mask`` (same shape, boolean) is False, in place."""
    tensor.mul_(as_factor(mask))


def hold(tensor: Tensor, mask: Tensor) -> None:
    """Make ``tensor`` zero where ``mask`` (same shape, boolean) is False, and nowhere else, in place."""
    erase(tensor, mask)
    unlucky = (tensor == 0).logical_and_(mask)
    if unlucky.any():
        tensor.masked_fill_(unlucky, torch.finfo(tensor.dtype).tiny)
