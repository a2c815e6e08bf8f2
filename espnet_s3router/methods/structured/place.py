"""Where the gates of an upstream lie.

A closed unit must have no effect. So its gate scales the inputs that read it: columns of the output matrix of attention, of
the second feed-forward matrix, of the next convolution or of the projection. Gates lie on tensors, as masks do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.utils import parametrize

from espnet_s3router.errors import InputError
from espnet_s3router.methods.structured.channel_norm import ChannelNorm
from espnet_s3router.upstreams import Family
from espnet_s3router.upstreams.structure import Structure, Widths

UNITS = ("conv", "attention", "feed_forward")
GateModule = TypeVar("GateModule", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A group of units: where its gate lies, and what belongs to its units."""

    kind: str
    """One of UNITS."""
    index: int
    """Number of the convolution or of the layer."""
    size: int
    """Number of units."""
    width: int
    """Consecutive columns of each unit: the width of a head, else 1."""
    reader: str
    """Module whose weight reads the units in its dimension 1."""
    writers: tuple[str, ...]
    """Modules whose outputs are the units."""
    norms: tuple[str, ...] = ()
    """Layer norms over these units. Their statistics count a removed unit as zero."""
    gains: tuple[str, ...] = ()
    """Other norms with a gain and a bias for each unit."""

    @property
    def name(self) -> str:
        """Name of the group, such as attention.3."""
        return f"{self.kind}.{self.index}"

    @property
    def minimum(self) -> int:
        """Units that must stay: audio passes through every convolution, but goes around the blocks of a layer."""
        return 1 if self.kind == "conv" else 0


class ScaledInputs(nn.Module):
    """weight (out, in, …) -> weight with each input scaled by the gate of its unit."""

    def __init__(self, gate: nn.Module, width: int) -> None:
        super().__init__()
        self.gate = gate
        self.width = width

    def forward(self, weight: Tensor) -> Tensor:
        scale = self.gate().to(weight.dtype)
        if self.width > 1:
            scale = scale.repeat_interleave(self.width)
        return weight * scale.view(1, -1, *(1,) * (weight.dim() - 2))


def places_of(structure: Structure, family: Family, units: tuple[str, ...] = UNITS) -> list[Place]:
    """The groups of units of an upstream. Convolutions come first, then the layers in their order."""
    places = []
    readers = [conv.path for conv in structure.convolutions[1:]] + [str(family.projection_matrix)]
    for index, (conv, reader, free) in enumerate(zip(structure.convolutions, readers, structure.free_channels)):
        if not free or "conv" not in units:
            continue
        last = index == len(structure.convolutions) - 1
        norms = [conv.norm] if conv.mixes else []
        norms += [family.projection_norm] if last and structure.normed else []
        places.append(
            Place(
                kind="conv", index=index, size=conv.outputs, width=1, reader=reader, writers=(conv.path,),
                norms=tuple(map(str, norms)), gains=() if conv.mixes or conv.norm is None else (conv.norm,),
            )
        )  # fmt: skip
    for index, layer in enumerate(structure.layers):
        *writers, reader = (f"{layer.path}.{name}" for name in family.attention)
        if "attention" in units and layer.heads:
            places.append(
                Place(
                    kind="attention",
                    index=index,
                    size=layer.heads,
                    width=layer.head_width,
                    reader=reader,
                    writers=tuple(writers),
                )
            )
        first, second = (f"{layer.path}.{name}" for name in family.feed_forward)
        if "feed_forward" in units and layer.inner:
            places.append(
                Place(kind="feed_forward", index=index, size=layer.inner, width=1, reader=second, writers=(first,))
            )
    return places


def refuse(structure: Structure, family: Family, units: tuple[str, ...]) -> None:
    """Raises InputError for units that cannot be removed from this upstream."""
    if "attention" in units and any(layer.relative for layer in structure.layers):
        raise InputError(
            "mask_conf: units hold attention, but the heads of WavLM share one table of relative positions, so they cannot "
            "be removed from single layers. Set units: [conv, feed_forward]"
        )
    if any(conv.groups != 1 for conv in structure.convolutions):
        raise InputError(f"mask_conf: channels of the grouped convolutions of this {family.name} upstream cannot be removed")


def place_gates(expert: nn.Module, places: Sequence[Place], gate_of: Callable[[Place], GateModule]) -> dict[str, GateModule]:
    """Put a gate on every group, in place; returns them by name. A gate is a module that returns a value for each unit."""
    gates = {}
    for place in places:
        gate = gate_of(place)
        reader = expert.get_submodule(place.reader)
        if parametrize.is_parametrized(reader, "weight"):
            raise InputError(f"mask_conf: {place.reader}.weight is parametrized already: it cannot take gates")
        parametrize.register_parametrization(reader, "weight", ScaledInputs(gate, place.width), unsafe=True)
        for path in place.norms:
            channel_norm(expert, path).close(gate)
        gates[place.name] = gate
    return gates


def channel_norm(expert: nn.Module, path: str) -> ChannelNorm:
    """The layer norm at ``path``, replaced by a ``ChannelNorm`` with the same parameters, in place."""
    norm = ChannelNorm.of(expert.get_submodule(path))
    owner, _, name = path.rpartition(".")
    setattr(expert.get_submodule(owner), name, norm)
    return norm


def widths_of(structure: Structure, sizes: Mapping[str, object]) -> Widths:
    """The sizes of ``structure``, with those that ``sizes`` names by group (such as attention.3) replaced."""
    present = structure.widths
    return Widths(
        channels=tuple(sizes.get(f"conv.{index}", size) for index, size in enumerate(present.channels)),
        heads=tuple(sizes.get(f"attention.{index}", size) for index, size in enumerate(present.heads)),
        inner=tuple(sizes.get(f"feed_forward.{index}", size) for index, size in enumerate(present.inner)),
    )
