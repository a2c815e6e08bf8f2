"""Units of plain weights that masks have emptied: heads and inner units that nothing reads, or that are constant.

Masks lie on weights alone. A unit whose rows are all zero still has its bias, so its output is a constant. What it adds to
the block is constant too, and becomes part of the bias behind it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.methods.structured.place import Place
from espnet_s3router.methods.structured.shared import layer_places
from espnet_s3router.upstreams import Family
from espnet_s3router.upstreams.structure import structure_of

SAMPLES = 8000
"""Length of the audio (half a second) that shows the constants: long enough for several frames of every upstream."""


@torch.no_grad()
def fold_zero_units(expert: nn.Module, family: Family) -> tuple[list[Place], dict[str, Tensor]]:
    """(groups of units of all layers, ascending indices of those that must stay, by group).

    The constants of the others are added to the biases behind them, in place. Weights must be plain. Channels of the
    convolutional frontend stay. Raises InputError for a family whose units are not known.
    """
    places = layer_places(structure_of(expert, family), family)
    unread, unwritten = ({place.name: test(expert, place) for place in places} for test in (_unread, _unwritten))
    constant = {name: unwritten[name] & ~unread[name] for name in unread}
    kept = {name: (~(unread[name] | unwritten[name])).nonzero().flatten() for name in unread}
    folded = [place for place in places if constant[place.name].any()]
    if folded:
        for place, values in zip(folded, _inputs(expert, folded)):
            columns = constant[place.name].repeat_interleave(place.width)
            reader: Any = expert.get_submodule(place.reader)
            reader.bias += reader.weight[:, columns] @ values[columns]
    return places, kept


def _unread(expert: nn.Module, place: Place) -> Tensor:
    """Boolean (units,): True if every weight that reads the unit is zero."""
    weight: Any = expert.get_submodule(place.reader).weight
    return (weight == 0).all(0).view(place.size, place.width).all(1)


def _unwritten(expert: nn.Module, place: Place) -> Tensor:
    """Boolean (units,): True if the unit has the same output for all audio, because its rows are zero.

    The output of a head is a mean of its values, so the last writer decides: the values of attention.
    """
    weight: Any = expert.get_submodule(place.writers[-1]).weight
    return (weight == 0).all(1).view(place.size, place.width).all(1)


def _inputs(expert: Any, places: Sequence[Place]) -> list[Tensor]:
    """What the readers of ``places`` get at one frame, each (inputs,). Constant inputs are right, others are any values."""
    found: dict[str, Tensor] = {}
    by_path = {place.reader: place for place in places if place.kind == "feed_forward"}
    with _captured(expert, by_path, found):
        if by_path:
            was_training = expert.training
            expert.eval()
            weight = next(expert.parameters())
            expert([torch.linspace(-0.5, 0.5, SAMPLES, device=weight.device).sin()])
            expert.train(was_training)
    return [found[p.reader] if p.reader in found else _values(expert, p) for p in places]


def _values(expert: nn.Module, place: Place) -> Tensor:
    """The output of heads with zero values: the bias of the values (inputs,), as the weights of attention sum to 1."""
    values: Any = expert.get_submodule(place.writers[-1])
    return torch.zeros(values.weight.shape[0]).to(values.weight) if values.bias is None else values.bias


@contextmanager
def _captured(expert: nn.Module, paths: Mapping[str, Any], found: dict[str, Tensor]) -> Iterator[None]:
    """Within the block, the input of each module at its first frame is put into ``found`` by path."""

    def note(path: str) -> Any:
        return lambda module, given: found.__setitem__(path, given[0].flatten(0, -2)[0].clone())

    hooks = [expert.get_submodule(path).register_forward_pre_hook(note(path)) for path in paths]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
