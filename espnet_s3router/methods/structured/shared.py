"""Which matrices of a Transformer layer share units: what ``ranking: units`` removes from all of them at once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn

from espnet_s3router.errors import InputError
from espnet_s3router.masks import MaskedTensor, SharedBy, SharedUnits, Site
from espnet_s3router.methods.structured.place import Place, places_of, widths_of
from espnet_s3router.upstreams import Family
from espnet_s3router.upstreams.families import family_of
from espnet_s3router.upstreams.structure import Structure, Widths, structure_of
from espnet_s3router.upstreams.text import layout_of

LAYER_UNITS = ("attention", "feed_forward")
"""Kinds of units of a Transformer layer: heads and inner units."""


def layer_places(structure: Structure, family: Family) -> list[Place]:
    """The groups of units of all layers that can be removed. Heads of WavLM share a table of positions, so they cannot."""
    relative = any(layer.relative for layer in structure.layers)
    return places_of(structure, family, LAYER_UNITS[1:] if relative else LAYER_UNITS)


def shared_sites(upstream: nn.Module, sites: Sequence[Site]) -> list[Site]:
    """The ``sites`` with the place of their units. Their matrices must be all those of some groups.

    Raises InputError for other tensors, for a matrix without those that share its units, and for an upstream whose units are
    not known.
    """
    family = layout_of(upstream)
    if not isinstance(family, Family):
        raise InputError(f"mask_conf: ranking units needs a speech upstream, but this is {family.name}. Use ranking: matrix")
    shared: dict[str, SharedBy] = {}
    for place in layer_places(structure_of(upstream, family), family):
        for path in place.writers:
            shared[f"{path}.weight"] = SharedBy(group=place.name, dim=0, width=place.width)
        shared[f"{place.reader}.weight"] = SharedBy(group=place.name, dim=1, width=place.width)
    names = {site.name for site in sites}
    odd = sorted(names - shared.keys())
    if odd:
        raise InputError(
            f"mask_conf: ranking units removes heads and inner units of feed-forward blocks, but targets hold {odd[0]}, "
            "which has none that can be removed. Set targets: feed_forward"
        )
    groups = {shared[name].group for name in names}
    missing = sorted(name for name, unit in shared.items() if unit.group in groups and name not in names)
    if missing:
        raise InputError(
            f"mask_conf: ranking units removes a unit from all its matrices, but targets lack {missing[0]}. Set targets to "
            "feed_forward, attention or all"
        )
    return [replace(site, unit=shared[site.name]) for site in sites]


def widths_of_masks(upstream: nn.Module, masks: Mapping[str, MaskedTensor]) -> Widths | None:
    """Units that are left where masks remove whole units from all their matrices. None for other masks."""
    if not any(isinstance(masked.selector, SharedUnits) for masked in masks.values()):
        return None
    family = family_of(upstream)
    structure = structure_of(upstream, family)
    sizes = {}
    for place in layer_places(structure, family):
        masked = masks.get(f"{place.reader}.weight")
        if masked is not None and isinstance(masked.selector, SharedUnits):
            sizes[place.name] = int(masked.selector.group.kept().sum())
    return widths_of(structure, sizes)
