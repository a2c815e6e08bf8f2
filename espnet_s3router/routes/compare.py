"""Routes side by side: how much their masks agree, and one route out of several."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.masks import Candidates
from espnet_s3router.routes.route import Route

MERGES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "union": lambda votes, routes: votes > 0,
    "intersection": lambda votes, routes: votes == routes,
    "majority": lambda votes, routes: 2 * votes > routes,
}
"""(number of routes that keep a weight, number of routes) -> True for weights to keep."""


def difference(first: Route, second: Route) -> dict[str, Any]:
    """Agreement of the masks of two routes on one base, in all and for each site, ready for JSON.

    Raises InputError for routes of different bases or sites.
    """
    check_comparable({"first": first, "second": second})
    common = first.candidates if first.candidates == second.candidates else None
    counts = {name: overlap(mask, second.masks[name], common) for name, mask in first.masks.items()}
    total = [sum(column) for column in zip(*counts.values())]
    return agreement(*total) | {"sites": {name: agreement(*count) for name, count in counts.items()}}


def overlap(first: Tensor, second: Tensor, common: Candidates | None = None) -> tuple[int, int, int, int, float]:
    """(weights, removed by the first mask, by the second, by both, expected by both if they are independent).

    ``common`` is the rule that names the weights which both may remove.
    """
    a, b = ~first, ~second
    removed = int(a.sum()), int(b.sum())
    among = first.numel() if common is None else common.count(first.numel())
    return first.numel(), *removed, int((a & b).sum()), removed[0] * removed[1] / max(among, 1)


def agreement(numel: int, first: int, second: int, both: int, by_chance: float) -> dict[str, float]:
    """Measures of two sets of removed weights; counts as from ``overlap``.

    ``iou`` is that of the removed sets. ``iou_chance`` is its value for independent sets of these sizes: s / (2 - s) if both
    have sparsity s and may remove all weights. ``cosine`` is that of the masks, which is high for any two masks of low
    sparsity.
    """
    either = first + second - both
    kept = (numel - first) * (numel - second)
    return {
        "sparsity_first": first / max(numel, 1),
        "sparsity_second": second / max(numel, 1),
        "iou": both / either if either else 1.0,
        "iou_chance": by_chance / (first + second - by_chance) if either else 1.0,
        "cosine": (numel - either) / math.sqrt(kept) if kept else 0.0,
    }


def combine(routes: Mapping[str, Route], how: str, head: str | None = None) -> Route:
    """One route out of several, by name. Its masks keep what any (union), all (intersection) or most (majority) keep.

    All else comes from the route ``head``, by default the first. The rule of candidates stays if all routes have the same.
    Raises InputError for routes of different bases or sites.
    """
    if how not in MERGES:
        raise InputError(f"merge: the rule is {how!r}, expected one of {', '.join(MERGES)}")
    if len(routes) < 2:
        raise InputError(f"merge: got {len(routes)} route, expected at least two different ones")
    head = head or next(iter(routes))
    if head not in routes:
        raise InputError(f"merge: the head is to come from {head!r}, expected one of {', '.join(routes)}")
    check_comparable(routes)
    masks = {}
    for name in routes[head].masks:
        votes = torch.stack([route.masks[name] for route in routes.values()]).sum(dim=0)
        masks[name] = MERGES[how](votes, len(routes))
    metadata = {key: value for key, value in routes[head].metadata.items() if key != "metrics"}  # of the unmerged route
    metadata["merged"] = {"rule": how, "head": head, "masks": list(routes)}
    rule = routes[head].candidates
    common = rule if all(route.candidates == rule for route in routes.values()) else None
    return replace(routes[head], masks=masks, metadata=metadata, candidates=common)


def check_comparable(routes: Mapping[str, Route]) -> None:
    """Raises InputError unless all routes have one base, and masks on the same tensors."""
    names: Sequence[str] = list(routes)
    first = routes[names[0]]
    if not first.masks:
        raise InputError(f"{names[0]} has no masks (method {first.metadata.get('method')}): only masks can be compared")
    for name in names[1:]:
        other = routes[name]
        if other.base != first.base:
            raise InputError(
                f"{names[0]} and {name} belong to different bases: fingerprints {first.base[:12]}… and {other.base[:12]}…. "
                "Compare routes of one base"
            )
        shapes, others = ({key: tuple(mask.shape) for key, mask in route.masks.items()} for route in (first, other))
        if shapes != others:
            odd = sorted(key for key in shapes.keys() | others.keys() if shapes.get(key) != others.get(key))
            raise InputError(
                f"{names[0]} and {name} mask different tensors, for example {odd[0]}: {shapes.get(odd[0], 'no mask')} and "
                f"{others.get(odd[0], 'no mask')}. Compare routes with the same targets"
            )
