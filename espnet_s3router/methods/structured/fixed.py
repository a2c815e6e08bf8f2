"""Units that are chosen once, before training begins, and stay closed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from espnet_s3router.masks.names import parameter_key
from espnet_s3router.methods.structured.cost import kept_units
from espnet_s3router.methods.structured.gates import largest
from espnet_s3router.methods.structured.options import UnitOptions
from espnet_s3router.methods.structured.place import Place, place_gates
from espnet_s3router.methods.structured.removal import Structured, fields_of

Score = Callable[[nn.Module, Sequence[Place]], dict[str, Tensor]]


class FixedGate(nn.Module):
    """Gates of a group: ``opened`` (units,) holds one for open units and zero for closed ones."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.opened = nn.Parameter(torch.ones(size), requires_grad=False)

    def forward(self) -> Tensor:
        """Values (units,)."""
        return self.opened


@dataclass(kw_only=True)
class FixedUnits(Structured):
    """Keeps the units with the largest scores, as many as the target leaves. A checkpoint holds the choice."""

    gates: dict[str, FixedGate]
    score: Score
    """(upstream, places) -> scores (units,) by group, at the start of training."""
    everywhere: bool = False
    """True: every group loses the same share of its units. False: one threshold for the scores of all groups."""
    rewind: bool = False
    """After the choice, return to the pretrained weights."""
    dropped: frozenset[str] = frozenset()
    """Groups and whole blocks that keep nothing. Other blocks stay."""
    idle: int = 0
    """Weights of dropped blocks: they do not train."""

    def open_units(self) -> dict[str, Tensor]:
        return {name: gate.opened.detach() > 0 for name, gate in self.gates.items()}

    def removed(self) -> int:
        return super().removed() - self.idle

    @torch.no_grad()
    def begin(self, start: Mapping[str, Tensor] | None = None, saliency: Mapping[str, Tensor] | None = None) -> None:
        pretrained = {name: weight.clone() for name, weight in self.startable.items()} if self.rewind else {}
        super().begin(start)
        scores = self.score(self.upstream, self.places)
        shares = even_share if self.everywhere else threshold(scores)

        def expected(place: Place, shift: float) -> float:
            if place.name in self.dropped:
                return 0.0
            return 1.0 if place.block else shares(place, shift)

        counts = kept_units(self.places, expected, self.constraints)
        for name, gate in self.gates.items():
            gate.opened.copy_(largest(scores[name], counts[name]))
        super().begin(pretrained)


def even_share(place: Place, shift: float) -> float:
    """Open units of a group that keeps the same share as all others: the sigmoid of -``shift``."""
    return place.size * float(torch.sigmoid(torch.tensor(-shift, dtype=torch.float64)))


def threshold(scores: Mapping[str, Tensor]) -> Callable[[Place, float], float]:
    """(group, log of a threshold) -> number of its units whose score lies above."""
    logs = {name: values.double().log() for name, values in scores.items()}
    return lambda place, shift: float((logs[place.name] > shift).sum())


def fixed_units(
    upstream: nn.Module,
    config: UnitOptions,
    score: Score,
    *,
    everywhere: bool = False,
    rewind: bool = False,
    layers: int | None = None,
) -> FixedUnits:
    """A handle that trains what ``hj`` trains, see ``FixedUnits``. ``layers``: all behind the first so many are dropped."""
    fields = fields_of(upstream, config, blocks=layers is not None)
    places, trained = fields["places"], fields.pop("trained")
    behind = [place for place in places if place.kind != "conv" and layers is not None and place.index >= layers]
    gates = place_gates(upstream, places, lambda place: FixedGate(place.size))
    chosen = {parameter_key(place.gated[-1], "gate.opened"): gates[place.name].opened for place in places}
    idle = tuple(f"{path}." for place in behind for path in (*place.writers, place.reader))
    return FixedUnits(
        **fields,
        trained={name: parameter for name, parameter in trained.items() if not name.startswith(idle)},
        saved=chosen,
        gates=gates,
        score=score,
        everywhere=everywhere,
        rewind=rewind,
        dropped=frozenset(place.name for place in behind),
        idle=sum(parameter.numel() for name, parameter in trained.items() if name.startswith(idle)),
    )
