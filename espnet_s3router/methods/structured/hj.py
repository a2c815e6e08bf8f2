"""``hj``: HJ-Pruning, which removes channels, attention heads and inner units while it finetunes (arXiv 2302.14132)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.masks.names import original_key, parameter_key
from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.finetune import finetuned
from espnet_s3router.methods.options import check, check_choice, check_count, check_path
from espnet_s3router.methods.schedule import Ramp
from espnet_s3router.methods.structured.cost import Constraint, constraints_of, kept_units
from espnet_s3router.methods.structured.gates import KINDS, Gates
from espnet_s3router.methods.structured.lagrangian import Lagrangian
from espnet_s3router.methods.structured.place import UNITS, Place, place_gates, places_of, refuse, widths_of
from espnet_s3router.upstreams import family_of
from espnet_s3router.upstreams.count import parameters
from espnet_s3router.upstreams.structure import Structure, Widths, structure_of

FAR = 0.05
"""An expected sparsity that is farther from the target at the end of a run is worth a warning."""
VARIANTS = ("size", "macs", "sep_macs")


@dataclass(frozen=True, kw_only=True)
class HjConfig:
    """Trains the weights together with gates on their units, until the model has lost a share of its cost."""

    sparsity: float
    """Share of the cost of the upstream that is removed, in (0, 1). With sep_macs: of the Transformer's MACs."""
    variant: str = "macs"
    """The cost. size: parameters. macs: MACs. sep_macs: those of the convolutional frontend and of the Transformer, each."""
    cnn_sparsity: float | None = None
    """With sep_macs: the share of the frontend's MACs that is removed; ``sparsity`` by default."""
    units: tuple[str, ...] = UNITS
    """What may be removed: conv (channels of the frontend), attention (heads), feed_forward (inner units)."""
    seconds: float = 10.0
    """Length of the utterance whose MACs count; the cost of attention grows with it."""
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
    train_cnn: bool = True
    """Train the convolutional frontend too, so that it can adapt to removed channels."""
    start: str | None = None
    """Model file of a finished run of method ``finetune`` on the same upstream: initial weights and head."""
    seed: int = 0
    """Seed of the initial gates."""

    def __post_init__(self) -> None:
        if isinstance(self.units, list):
            object.__setattr__(self, "units", tuple(self.units))
        for name in ("sparsity", "cnn_sparsity"):
            value: Any = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            optional = name == "cnn_sparsity" and value is None
            check(optional or number and 0.0 < value < 1.0, name, value, "a share to remove in (0, 1), for example 0.4")
        check_choice("variant", self.variant, VARIANTS)
        check_choice("gates", self.gates, KINDS)
        known = isinstance(self.units, tuple) and len(self.units) > 0 and set(self.units) <= set(UNITS)
        check(known, "units", self.units, f"some of {', '.join(UNITS)}")
        check(
            0.025 < self.seconds < float("inf"), "seconds", self.seconds, "a length in seconds above 0.025, the first frame"
        )
        check(0.0 < self.closed < 1.0, "closed", self.closed, "a probability in (0, 1)")
        for name in ("gate_lr", "multiplier_lr"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a learning rate above 0")
        for name in ("updates", "ramp_until"):
            check_count(name, getattr(self, name), 1)
        given = self.updates is not None or self.ramp_until is not None
        check(given, "updates", None, "the updates of the whole run, or ramp_until")
        if self.updates is not None and self.ramp_until is not None:
            check(self.ramp_until <= self.updates, "ramp_until", self.ramp_until, f"at most updates ({self.updates})")
        check_path("start", self.start)
        self._check_variant()

    def _check_variant(self) -> None:
        """Raises InputError for units and shares that contradict the variant."""
        if self.variant == "sep_macs":
            needed = "conv" in self.units and len(self.units) > 1
            check(needed, "units", self.units, "conv and at least one of attention and feed_forward with variant sep_macs")
        elif self.cnn_sparsity is not None:
            raise InputError(f"mask_conf: cnn_sparsity with variant {self.variant} is a contradiction. Remove one of them")

    @property
    def ramp(self) -> Ramp:
        """The target of training, as a share of the final one."""
        end = self.ramp_until or max((self.updates or 0) // 3, 1)
        return Ramp(target=self.sparsity, kind="linear", begin=0, end=end)


@dataclass(kw_only=True)
class Structured(Attached):
    """Removes whole units. The model that is validated and saved always has the final sparsity."""

    options: HjConfig
    structure: Structure
    """The sizes before pruning."""
    places: list[Place]
    gates: Gates
    constraints: list[Constraint]
    lagrangian: Lagrangian
    sampling: bool = False
    """True within an epoch: every forward pass draws new gates."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.upstream.register_forward_pre_hook(lambda *hooked: self.gates.draw() if self.sampling else None)

    def begin_epoch(self, epoch: int) -> None:
        self.sampling = True

    def end_epoch(self) -> None:
        self.sampling = False
        self.gates.settle()

    def expected_sparsity(self) -> Tensor:
        """Expected share of each constraint's cost that is removed, (constraints,), with gradients."""
        expected = self.gates.expected()
        return torch.stack([constraint.sparsity(expected) for constraint in self.constraints]).float()

    def reached(self) -> list[float]:
        """The sparsity of each constraint in evaluation."""
        kept = torch.tensor([int(mask.sum()) for mask in self.gates.masks().values()])
        return [float(constraint.sparsity(kept)) for constraint in self.constraints]

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

    def removed(self) -> int:
        present, kept = parameters(self.structure), parameters(self.structure, self.widths())
        return sum(present.values()) - sum(kept.values())

    def widths(self) -> Widths:
        """The sizes in evaluation."""
        return widths_of(self.structure, {name: int(mask.sum()) for name, mask in self.gates.masks().items()})


def hj(upstream: nn.Module, config: HjConfig) -> Structured:
    """Put gates on the units of the upstream; train them, the Transformer, the projection and the frontend."""
    family = family_of(upstream)
    structure = structure_of(upstream, family)
    refuse(structure, family, config.units)
    places = places_of(structure, family, config.units)
    constraints = constraints_of(structure, places, config.variant, config.sparsity, config.cnn_sparsity, config.seconds)
    _check_reachable(places, constraints)
    weights, transformer = finetuned(upstream, config.train_cnn), finetuned(upstream, False)
    groups = place_gates(upstream, places, config.gates, config.closed, config.seed)
    readers = {f"{place.reader}.weight" for place in places}
    trained = {original_key(name) if name in readers else name: parameter for name, parameter in weights.items()}
    trained |= {parameter_key(f"{place.reader}.weight", "gate.log_alpha"): groups[place.name].log_alpha for place in places}
    return Structured(
        upstream=upstream,
        trained=trained,
        startable=weights,
        start_may_lack=frozenset(weights) - frozenset(transformer),
        schedule=config.ramp,
        options=config,
        structure=structure,
        places=places,
        gates=Gates(groups, lambda: kept_units(groups, constraints)),
        constraints=constraints,
        lagrangian=Lagrangian(len(constraints)),
    )


def _check_reachable(places: list[Place], constraints: list[Constraint]) -> None:
    """Raises InputError for a sparsity that is out of reach even if all gates close."""
    least = torch.tensor([place.minimum for place in places])
    for constraint in constraints:
        most = float(constraint.sparsity(least))
        if constraint.target > most:
            raise InputError(
                f"mask_conf: sparsity {constraint.target} of {constraint.name} cannot be reached: with units "
                f"{', '.join(dict.fromkeys(place.kind for place in places))} at most {most:.4f} can be removed, which "
                f"leaves {1 - most:.4f} of the cost. Lower the sparsity, or add units"
            )
