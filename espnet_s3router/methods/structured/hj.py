"""``hj``: HJ-Pruning, which removes channels, attention heads and inner units while it finetunes (arXiv 2302.14132)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.masks.names import parameter_key
from espnet_s3router.methods.options import check, check_choice, check_count
from espnet_s3router.methods.schedule import Ramp
from espnet_s3router.methods.structured import hard_concrete
from espnet_s3router.methods.structured.cost import kept_units
from espnet_s3router.methods.structured.gates import KINDS, Gate, Gates
from espnet_s3router.methods.structured.lagrangian import Lagrangian
from espnet_s3router.methods.structured.options import UnitOptions
from espnet_s3router.methods.structured.place import BLOCK, Place, place_gates
from espnet_s3router.methods.structured.removal import Structured, fields_of

FAR = 0.05
"""An expected sparsity that is farther from the target at the end of a run is worth a warning."""


@dataclass(frozen=True, kw_only=True)
class HjConfig(UnitOptions):
    """Trains the weights together with gates on their units, until the model has lost a share of its cost."""

    blocks: bool = False
    """Gates on whole attention and feed-forward blocks too, of those in ``units``. The residual path stays."""
    gates: str = "hard_concrete"
    """hard_concrete (arXiv 1712.01312), or binary: 0 or 1, with a straight-through gradient."""
    closed: float = 0.01
    """Log alpha of each gate is about log((1 - closed) / closed) at the start, as in DPHuBERT's code. A hard concrete gate
    is then closed with a lower probability: 0.002 for 0.01."""
    gate_lr: float = 0.02
    """Learning rate of the gates (DPHuBERT's code: 0.02)."""
    multiplier_lr: float = 0.02
    """Learning rate of the Lagrange multipliers, which ascend (DPHuBERT's code: 0.02)."""
    updates: int | None = None
    """Updates of the whole run (as the scheduler's max_steps); needed unless ``ramp_until`` is given."""
    ramp_until: int | None = None
    """The update at which the target of training reaches ``sparsity``, from 0 in a straight line; a third of ``updates`` by
    default."""
    sizes: tuple[float, ...] = ()
    """Further shares to remove, which one run trains for as well. Each update trains one size, ``sparsity`` or one of these.
    The sizes share their weights and the order of their units. s3router shrink --sparsity takes one out."""
    seed: int = 0
    """Seed of the initial gates, and of the sizes of updates."""

    def __post_init__(self) -> None:
        super().__post_init__()
        layers = not self.blocks or set(self.units) != {"conv"}
        check(layers, "units", self.units, "attention or feed_forward in it with blocks: true")
        check_choice("gates", self.gates, KINDS)
        self._check_sizes()
        check(0.0 < self.closed < 1.0, "closed", self.closed, "a probability in (0, 1)")
        for name in ("gate_lr", "multiplier_lr"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a learning rate above 0")
        for name in ("updates", "ramp_until"):
            check_count(name, getattr(self, name), 1)
        given = self.updates is not None or self.ramp_until is not None
        check(given, "updates", None, "the updates of the whole run, or ramp_until")
        if self.updates is not None and self.ramp_until is not None:
            check(self.ramp_until <= self.updates, "ramp_until", self.ramp_until, f"at most updates ({self.updates})")

    def _check_sizes(self) -> None:
        """Turns ``sizes`` from a list of YAML into a tuple, then checks it."""
        if isinstance(self.sizes, list):
            object.__setattr__(self, "sizes", tuple(self.sizes))
        allowed = "shares to remove in (0, 1) that differ from each other and from sparsity, such as [0.3, 0.6]"
        check(isinstance(self.sizes, tuple), "sizes", self.sizes, allowed)
        numbers = all(isinstance(one, float) and 0.0 < one < 1.0 for one in self.sizes)
        check(numbers and len({self.sparsity, *self.sizes}) == 1 + len(self.sizes), "sizes", self.sizes, allowed)
        if self.sizes:
            check(self.variant != "sep_macs", "variant", self.variant, "size or macs with sizes: each size has one target")

    @property
    def ramp(self) -> Ramp:
        """The target of training, as a share of the final one."""
        end = self.ramp_until or max((self.updates or 0) // 3, 1)
        return Ramp(target=self.sparsity, kind="linear", begin=0, end=end)


@dataclass(kw_only=True)
class Hj(Structured):
    """Closes units by gates that train with the weights."""

    options: HjConfig
    gates: Gates
    lagrangian: Lagrangian
    sampling: bool = False
    """True within an epoch: every forward pass draws new gates."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.upstream.register_forward_pre_hook(lambda *hooked: self.draw() if self.sampling else None)

    def draw(self) -> None:
        """Draw new gates for a forward pass."""
        self.gates.draw()

    def begin_epoch(self, epoch: int) -> None:
        self.sampling = True

    def end_epoch(self) -> None:
        self.sampling = False
        self.gates.settle()

    def open_units(self) -> dict[str, Tensor]:
        masks = self.gates.masks()
        blocks = {place.name.replace(BLOCK, ""): masks[place.name] for place in self.places if place.block}
        return {name: mask & blocks[name] if name in blocks else mask for name, mask in masks.items()}

    def expected_sparsity(self) -> Tensor:
        """Expected share of each constraint's cost that is removed, (constraints,), with gradients."""
        expected = self.gates.expected()
        return torch.stack([constraint.sparsity(expected) for constraint in self.constraints]).float()

    def penalty(self) -> tuple[Tensor | None, dict[str, Tensor]]:
        sparsities = self.expected_sparsity()
        progress = self.options.ramp.progress(self.update)
        targets = sparsities.new_tensor([constraint.target * progress for constraint in self.constraints])
        added = self.lagrangian(sparsities, targets)
        names = [f"sparsity_{constraint.name}" for constraint in self.constraints]
        return added, {"loss_sparsity": added.detach(), **dict(zip(names, sparsities.detach()))}

    @torch.no_grad()
    def shortfall(self) -> str:
        for constraint, expected in zip(self.constraints, self.expected_sparsity()):
            if abs(float(expected) - constraint.target) > FAR:
                return (
                    f"The gates have an expected sparsity of {float(expected):.3f} of {constraint.name}, far from the "
                    f"target {constraint.target}. The model has the target, but did not train there: train longer, or raise "
                    f"gate_lr ({self.options.gate_lr}) and multiplier_lr ({self.options.multiplier_lr})"
                )
        return ""

    def optimizer_groups(self) -> list[dict[str, Any]]:
        gates = self.gates.parameters()
        self.lagrangian.move_to(gates[0].device)  # the upstream may have moved, and it does not hold the multipliers
        return [
            {"params": gates, "lr": self.options.gate_lr, "weight_decay": 0.0},
            {
                "params": [self.lagrangian.multipliers],
                "lr": self.options.multiplier_lr,
                "weight_decay": 0.0,
                "maximize": True,
            },
        ]

    def training_state(self) -> dict[str, Tensor]:
        return {"multipliers": self.lagrangian.multipliers.detach().clone()}

    def training_state_bytes(self) -> int:
        return 8 * len(self.constraints)

    @torch.no_grad()
    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        self.lagrangian.multipliers.copy_(state["multipliers"])


def hj(upstream: nn.Module, config: HjConfig, kind: type[Hj] = Hj) -> Hj:
    """Put gates on the units of the upstream; train them, the Transformer, the projection and the frontend. ``kind`` is the
    class of the handle."""
    fields = fields_of(upstream, config, blocks=config.blocks)
    places, constraints = fields["places"], fields["constraints"]
    generator = torch.Generator().manual_seed(config.seed)

    def gate_of(place: Place) -> Gate:
        return Gate(hard_concrete.initial(place.size, config.closed, generator), config.gates)

    gates = place_gates(upstream, places, gate_of)
    log_alphas = {parameter_key(p.gated[-1], "gate.log_alpha"): gates[p.name].log_alpha for p in places}
    fields["trained"] |= log_alphas
    return kind(
        **fields,
        schedule=config.ramp,
        gates=Gates(gates, lambda: kept_units(places, lambda place, shift: gates[place.name].expected(shift), constraints)),
        lagrangian=Lagrangian(len(constraints)),
    )
