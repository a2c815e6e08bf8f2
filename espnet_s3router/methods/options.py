"""Checks of option values, and the options that several methods share. Imports no method.

``mask_conf`` of a YAML file becomes the frozen dataclass of its method. Its checks raise an ``InputError`` that names the
option, its value and the allowed values.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from types import NoneType
from typing import Any, ClassVar, get_args

from torch import nn

from espnet_s3router.errors import InputError
from espnet_s3router.masks import Site, find_sites
from espnet_s3router.masks.ranking import n_of_m
from espnet_s3router.masks.select import ROUNDINGS
from espnet_s3router.masks.sites import maskable
from espnet_s3router.upstreams import TARGETS, layer_indices
from espnet_s3router.upstreams.text import layout_of

_KINDS: dict[object, tuple[Any, str]] = {
    bool: (bool, "true or false"),
    int: (int, "a whole number"),
    float: (int | float, "a number"),
}


def read_options(kind: type, options: object, where: str, owner: str = "") -> Any:
    """The dataclass ``kind`` with these options. InputError for an unknown or missing key, or a value of another type.

    ``where`` is the block of options in messages, and ``owner`` its owner, such as " of method parp".
    """
    kinds = {field.name: field.type for field in fields(kind)}
    allowed = ", ".join(kinds) or "none"
    if not isinstance(options, Mapping):
        raise InputError(f"{where} is {options!r}, expected keys and values; allowed: {allowed}")
    for key, value in options.items():
        if key not in kinds:
            raise InputError(f"{where}: key {key!r} is not an option{owner}; allowed: {allowed}.{suggestion(key, kinds)}")
        check_type(key, kinds[key], value, where=where)
    try:
        return kind(**options)
    except TypeError as error:  # a required key is missing, or a value has a type that its check cannot compare
        raise InputError(f"{where}{owner}: {error}; options: {allowed}") from error


def suggestion(word: object, choices: Iterable[str]) -> str:
    """A question with the nearest of ``choices``; empty if none is near."""
    near = get_close_matches(str(word), choices, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def check(condition: bool, name: str, value: object, expected: str) -> None:
    """Raises InputError with the option, its value and the allowed values, unless ``condition`` holds."""
    if not condition:
        raise InputError(f"mask_conf: {name} is {value!r}, expected {expected}")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Accepts one of ``choices``."""
    check(value in choices, name, value, f"one of {', '.join(choices)}")


def check_type(key: str, kind: object, value: object, *, where: str = "mask_conf") -> None:
    """Accepts None and values of ``kind``, where that is bool, int, float, or one of them or None.

    The text "false" is no switch.
    """
    kind, *others = (part for part in get_args(kind) or (kind,) if part is not NoneType)
    if value is None or others or kind not in _KINDS:
        return
    accepted, words = _KINDS[kind]
    if not isinstance(value, accepted) or isinstance(value, bool) and kind is not bool:
        raise InputError(f"{where}: {key} is {value!r}, expected {words}")


def check_sparsity(name: str, value: object) -> None:
    """Accepts a fraction in [0, 1)."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    check(number and 0.0 <= value < 1.0, name, value, "a fraction removed in [0, 1), for example 0.08")  # type: ignore[operator]


def check_count(name: str, value: object, low: int) -> None:
    """Accepts None or a whole number from ``low``."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    check(value is None or (whole and value >= low), name, value, f"a whole number from {low}")  # type: ignore[operator]


def check_path(name: str, value: object) -> None:
    """Accepts None or a file name. Training checks that the file exists; decoding does not need it."""
    check(value is None or isinstance(value, str) and value != "", name, value, "the path of a model file (.pth)")


def require_start(start: str | None) -> None:
    """Raises InputError when a method that needs a finetuned model has none."""
    check(start is not None, "start", start, "a model file (such as valid.cer_ctc.ave.pth) of a finished finetune run")


def check_targets(config: Any) -> None:
    """Turns ``config.targets`` from a list of YAML into a tuple, then checks it."""
    if isinstance(config.targets, list):
        object.__setattr__(config, "targets", tuple(config.targets))
    allowed = f"one of {', '.join(TARGETS)}, or patterns that contain a dot"
    targets = (config.targets,) if isinstance(config.targets, str) else config.targets
    check(isinstance(targets, tuple) and len(targets) > 0, "targets", config.targets, allowed)
    for target in targets:
        check(isinstance(target, str) and (target in TARGETS or "." in target), "targets", target, allowed)


def layer_numbers(layers: Any) -> tuple[int, ...] | None:
    """The Transformer layers that an option names: a list of numbers, or a range such as "6-11". None for all layers.

    Raises InputError for anything else.
    """
    if layers is None:
        return None
    ends = re.fullmatch(r"(\d+)-(\d+)", layers) if isinstance(layers, str) else None
    numbers = range(int(ends[1]), int(ends[2]) + 1) if ends is not None else layers
    known = isinstance(numbers, range | list | tuple) and len(numbers) > 0
    known = known and all(type(layer) is int and layer >= 0 for layer in numbers)
    check(known, "layers", layers, "layer numbers from 0 such as [0, 3], or a range such as 6-11")
    return tuple(sorted(set(numbers)))


def sites_of(
    upstream: nn.Module, targets: str | tuple[str, ...], ranking: str = "matrix", layers: str | tuple[int, ...] | None = None
) -> list[Site]:
    """Sites that ``targets`` names, in the order of the model; of the Transformer layers only those in ``layers``.

    Raises InputError for a pattern that matches none, for a site whose inputs do not divide into the groups of N:M, and for
    a layer without a site.
    """
    family = layout_of(upstream)
    names = (targets,) if isinstance(targets, str) else targets
    patterns = [p for name in names for p in (family.patterns(name) if "." not in name else [name])]
    groups = {name: family.patterns(name) for name in ("feed_forward", "attention", "conv")}
    try:
        layer_of = layer_indices(family, list(maskable(upstream)))
        sites = find_sites(upstream, patterns, groups=groups, layer_of=layer_of)
    except ValueError as error:
        raise InputError(f"mask_conf: targets: {error}") from error
    if not sites:
        raise InputError(f"mask_conf: targets is {targets!r}, and this model ({family.name}) has no such tensors")
    chosen = layer_numbers(layers)
    if chosen is not None:
        present = sorted({site.layer for site in sites if site.layer is not None})
        for layer in chosen:
            check(layer in present, "layers", layers, f"some of {present}, where targets {targets!r} lie")
        sites = [site for site in sites if site.layer is None or site.layer in chosen]
    pattern = n_of_m(ranking)
    for site in sites:
        width = getattr(site.module, site.tensor).shape[-1]
        if pattern is not None and width % pattern[1]:
            raise InputError(f"mask_conf: ranking is {ranking}, but {site.name} has {width} inputs per output")
    return sites


@dataclass(frozen=True, kw_only=True)
class SparsityOptions:
    """How many weights are removed, and by which ranking."""

    rankings: ClassVar[tuple[str, ...]] = ("global", "matrix")

    sparsity: float = None  # type: ignore[assignment]  # follows from keep, or __post_init__ refuses None
    """Fraction of the target tensors that is removed at the end, in [0, 1). Needed unless ``keep`` is given."""
    keep: float | None = None
    """Fraction that stays, in (0, 1], instead of ``sparsity``: ``prune_rate`` of the S3-Router code, with its exact count.
    Implies ``rounding: reference``."""
    targets: str | tuple[str, ...] = "all"
    """feed_forward, attention, all, conv, or fnmatch patterns of tensor paths."""
    ranking: str = "global"
    """global (one ranking over all targets, as PARP's code), matrix (one for each tensor), or N:M such as 2:4."""
    rounding: str = "nearest"
    """nearest, or reference: the count of the S3-Router code."""

    def __post_init__(self) -> None:
        self._take_keep()
        self._check_sparsity()
        check_targets(self)
        check_choice("rounding", self.rounding, ROUNDINGS)
        pattern = n_of_m(self.ranking)
        allowed = f"one of {', '.join(self.rankings)}, or N:M with 0 < N <= M such as '2:4', in quotes"
        check(self.ranking in self.rankings or pattern is not None, "ranking", self.ranking, allowed)
        if pattern is not None:
            implied = 1.0 - pattern[0] / pattern[1]
            check(abs(self.sparsity - implied) < 1e-9, "sparsity", self.sparsity, f"{implied} with ranking {self.ranking}")

    def _check_sparsity(self) -> None:
        """Raises InputError unless the options say how much is removed."""
        check_sparsity("sparsity", self.sparsity)

    def _take_keep(self) -> None:
        """Derives ``sparsity`` and ``rounding`` from ``keep``."""
        if self.keep is None:
            return
        check(0.0 < self.keep <= 1.0, "keep", self.keep, "a fraction kept in (0, 1], for example 0.92")
        implied = 1.0 - self.keep
        if self.sparsity not in (None, implied):
            raise InputError(
                f"mask_conf: sparsity {self.sparsity} with keep {self.keep} is a contradiction. Remove one of them"
            )
        object.__setattr__(self, "sparsity", implied)
        object.__setattr__(self, "rounding", "reference")
