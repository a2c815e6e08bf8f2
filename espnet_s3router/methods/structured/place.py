"""Where the gates of an upstream lie.

A closed unit must have no effect. So its gate scales the inputs that read it: columns of the output matrix of attention, of
the second feed-forward matrix, of the next convolution or of the projection. The gate of a whole block scales the matrix and
the bias of its output, so a closed block adds nothing to the residual path. Gates lie on tensors, as masks do.
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
BLOCK = "_block"
"""End of the kind of a place that is a whole block."""
GateModule = TypeVar("GateModule", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A group of units: where its gate lies, and what belongs to its units."""

    kind: str
    """One of UNITS, or attention_block or feed_forward_block: a single unit, the block."""
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
    def block(self) -> bool:
        """True for a whole block."""
        return self.kind.endswith(BLOCK)

    @property
    def gated(self) -> tuple[str, ...]:
        """The tensors that the gate scales. Its parameter lies on the last one."""
        return (f"{self.reader}.weight", f"{self.reader}.bias") if self.block else (f"{self.reader}.weight",)

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


class ScaledOutputs(nn.Module):
    """weight or bias -> the same, scaled by the gate of the block whose output it makes."""

    def __init__(self, gate: nn.Module, *, owns: bool) -> None:
        super().__init__()
        if owns:
            self.gate = gate
        else:
            object.__setattr__(self, "gate", gate)  # no submodule: the parameter belongs to another tensor

    def forward(self, tensor: Tensor) -> Tensor:
        return tensor * self.gate().to(tensor.dtype)


def places_of(structure: Structure, family: Family, units: tuple[str, ...] = UNITS, *, blocks: bool = False) -> list[Place]:
    """The groups of units of an upstream. Convolutions come first, then the layers in their order. With ``blocks``, each
    group of a layer is followed by the block that holds it."""
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
        first, second = (f"{layer.path}.{name}" for name in family.feed_forward)
        for kind, size, width, inputs, output in (
            ("attention", layer.heads, layer.head_width, tuple(writers), reader),
            ("feed_forward", layer.inner, 1, (first,), second),
        ):
            if kind not in units or not size:
                continue
            places.append(Place(kind=kind, index=index, size=size, width=width, reader=output, writers=inputs))
            if blocks:
                places.append(Place(kind=kind + BLOCK, index=index, size=1, width=1, reader=output, writers=()))
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
        if place.block:
            parametrize.register_parametrization(reader, "weight", ScaledOutputs(gate, owns=False), unsafe=True)
            parametrize.register_parametrization(reader, "bias", ScaledOutputs(gate, owns=True), unsafe=True)
        else:
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


def widths_of(structure: Structure, sizes: Mapping[str, int]) -> Widths:
    """The sizes of ``structure``, with those that ``sizes`` names by group (such as attention.3) replaced. A removed block
    has no units."""
    present = structure.widths

    def replaced(kind: str, old: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sizes.get(f"{kind}.{index}", size) for index, size in enumerate(old))

    attention = replaced("attention" + BLOCK, present.attention_blocks)
    feed_forward = replaced("feed_forward" + BLOCK, present.feed_forward_blocks)
    return Widths(
        channels=replaced("conv", present.channels),
        heads=tuple(block * heads for block, heads in zip(attention, replaced("attention", present.heads))),
        inner=tuple(block * inner for block, inner in zip(feed_forward, replaced("feed_forward", present.inner))),
        attention_blocks=attention,
        feed_forward_blocks=feed_forward,
    )
