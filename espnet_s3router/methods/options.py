"""Method configurations: a frozen dataclass per method, validated on construction.

``mask_conf`` of a YAML file becomes one of these; an unknown key, a contradiction or a value outside its range is an
``InputError`` that says what is allowed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from espnet_s3router.errors import InputError
from espnet_s3router.masks.scores import COMPARABLE_INITS, INITS
from espnet_s3router.masks.select import ROUNDINGS
from espnet_s3router.upstreams import TARGETS

RANKINGS = ("matrix", "global", "output_units", "input_units")


def check(condition: bool, name: str, got: object, expected: str) -> None:
    """Raise an InputError that names the key, what it holds and what it may hold."""
    if not condition:
        raise InputError(f"mask_conf: {name} is {got!r}, expected {expected}")


def check_sparsity(name: str, value: object) -> None:
    """A fraction removed in [0, 1)."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    check(number and 0.0 <= value < 1.0, name, value, "a fraction removed in [0, 1), for example 0.08")  # type: ignore[operator]


def check_targets(targets: object) -> None:
    """One of TARGETS, a pattern with a dot, or a list of such."""
    allowed = f"one of {', '.join(TARGETS)}, or patterns that contain a dot"
    given = (targets,) if isinstance(targets, str) else targets
    check(isinstance(given, tuple) and len(given) > 0, "targets", targets, allowed)
    for target in given:  # type: ignore[attr-defined]
        check(isinstance(target, str) and (target in TARGETS or "." in target), "targets", target, allowed)


def n_of_m(ranking: object) -> tuple[int, int] | None:
    """(N, M) of a ranking such as 2:4, else None."""
    match = re.fullmatch(r"(\d+):(\d+)", str(ranking))
    if match is None or not 0 < int(match[1]) <= int(match[2]):
        return None
    return int(match[1]), int(match[2])


def check_pattern(ranking: object, sparsity: float, named: tuple[str, ...]) -> None:
    """One of ``named``, or N:M with the sparsity that it implies."""
    pattern = n_of_m(ranking)
    allowed = f"one of {', '.join(named)}, or N:M with 0 < N <= M such as '2:4', in quotes"
    check(ranking in named or pattern is not None, "ranking", ranking, allowed)
    if pattern is not None:
        implied = 1.0 - pattern[0] / pattern[1]
        check(abs(sparsity - implied) < 1e-9, "sparsity", sparsity, f"{implied} with ranking {ranking}")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Weights of the Transformer and the projection are trained."""

    train_cnn: bool = False
    """Train the convolutional frontend too (the papers freeze it; ESPnet's own s3prl recipes train it)."""


@dataclass(frozen=True, kw_only=True)
class HeadOnlyConfig:
    """Nothing of the upstream is trained: what the frozen representation gives by itself."""


@dataclass(frozen=True, kw_only=True)
class FixedMaskConfig:
    """Masks that are not learned (``random``, ``magnitude``): the controls of ``routing``."""

    sparsity: float
    """Fraction of each site that is removed, in [0, 1)."""
    targets: str | tuple[str, ...] = "feed_forward"
    """feed_forward, attention, all, conv, or fnmatch patterns of tensor paths."""
    feed_forward_sparsity: float | None = None
    """Overrides ``sparsity`` on feed-forward matrices."""
    attention_sparsity: float | None = None
    """Overrides ``sparsity`` on attention matrices."""
    layer_sparsity: Mapping[int, float] = field(default_factory=dict)
    """Overrides per Transformer layer (0 = lowest); wins over the group overrides."""
    ranking: str = "matrix"
    """matrix (each tensor alone, as the paper), global, output_units, input_units, or N:M such as 2:4."""
    rounding: str = "nearest"
    """nearest, or reference: the count of the authors' code."""
    train_biases: bool = False
    """Also train the biases of the Transformer."""
    train_norms: bool = False
    """Also train the layer norms of the Transformer (Piggyback, arXiv 1801.06519)."""
    seed: int = 0
    """Seed of the score initialisation."""

    def __post_init__(self) -> None:
        if isinstance(self.targets, list):
            object.__setattr__(self, "targets", tuple(self.targets))
        check_sparsity("sparsity", self.sparsity)
        for name in ("feed_forward_sparsity", "attention_sparsity"):
            if getattr(self, name) is not None:
                check_sparsity(name, getattr(self, name))
        check(isinstance(self.layer_sparsity, Mapping), "layer_sparsity", self.layer_sparsity, "layer: sparsity pairs")
        for layer, value in self.layer_sparsity.items():
            check(isinstance(layer, int) and layer >= 0, "layer_sparsity", layer, "layer numbers from 0 as keys")
            check_sparsity(f"layer_sparsity[{layer}]", value)
        check_targets(self.targets)
        check(self.rounding in ROUNDINGS, "rounding", self.rounding, f"one of {', '.join(ROUNDINGS)}")
        check_pattern(self.ranking, self.sparsity, RANKINGS)
        overrides = self.layer_sparsity or self.feed_forward_sparsity is not None or self.attention_sparsity is not None
        if overrides and (self.ranking == "global" or self.n_of_m is not None):
            raise InputError(
                f"mask_conf: ranking {self.ranking!r} with sparsities per layer or group is a contradiction: "
                "one ranking has one sparsity. Remove the overrides or use ranking: matrix"
            )

    @property
    def n_of_m(self) -> tuple[int, int] | None:
        """(N, M) of an N:M ranking, else None."""
        return n_of_m(self.ranking)

    def sparsity_of(self, group: str, layer: int | None) -> float:
        """Sparsity of a site: per layer, else per group, else the common one."""
        if layer is not None and layer in self.layer_sparsity:
            return self.layer_sparsity[layer]
        by_group = {"feed_forward": self.feed_forward_sparsity, "attention": self.attention_sparsity}.get(group)
        return self.sparsity if by_group is None else by_group


@dataclass(frozen=True, kw_only=True)
class RoutingConfig(FixedMaskConfig):
    """Scores are trained, weights stay: S3-Router (arXiv 2211.01522)."""

    init: str = "ori"
    """Score initialisation, see masks.scores."""
    scale: float = 1.0
    """Divides the initial scores: relative to the learning rate it sets how fast masks change."""
    train_weights: bool = False
    """Co-train the masked weights with their scores, as movement pruning does (arXiv 2005.07683). That ranks signed scores,
    this their magnitudes; and here removed weights learn too."""
    freeze_below: int = 0
    """Masks of layers below this one stay as initialised."""

    def __post_init__(self) -> None:
        super().__post_init__()
        inits = COMPARABLE_INITS if self.ranking == "global" else INITS
        check(self.init in inits, "init", self.init, f"one of {', '.join(inits)} with ranking {self.ranking}")
        check(self.scale > 0, "scale", self.scale, "a number above 0")
        check(self.freeze_below >= 0, "freeze_below", self.freeze_below, "a layer number from 0")
        if self.freeze_below and self.ranking == "global":
            raise InputError(
                "mask_conf: freeze_below with ranking 'global' is a contradiction: one ranking moves the masks of all "
                "layers. Remove freeze_below or use ranking: matrix"
            )


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank update W + (alpha / rank) B A of each target (arXiv 2106.09685), on the tensor: it works in every family."""

    rank: int = 8
    """Columns of B and rows of A."""
    alpha: float = 16.0
    """Over the rank, the factor of the update."""
    targets: str | tuple[str, ...] = "attention"
    """As for masks; the paper adapts attention."""
    seed: int = 0
    """Of the random values that A begins with; B begins with zeros."""

    def __post_init__(self) -> None:
        if isinstance(self.targets, list):
            object.__setattr__(self, "targets", tuple(self.targets))
        check(self.rank >= 1, "rank", self.rank, "a whole number from 1")
        check(self.alpha > 0, "alpha", self.alpha, "a number above 0")
        check_targets(self.targets)


@dataclass(frozen=True, kw_only=True)
class HoulsbyConfig:
    """Bottleneck adapters after attention and feed-forward of every layer (arXiv 1902.00751)."""

    bottleneck: int = 32
    """Width of the adapter in units."""
    seed: int = 0
    """Of the random values that the adapters begin with."""

    def __post_init__(self) -> None:
        check(self.bottleneck >= 1, "bottleneck", self.bottleneck, "a whole number from 1")


@dataclass(frozen=True, kw_only=True)
class BitfitConfig:
    """Biases of the Transformer alone are trained (arXiv 2106.10199)."""

    train_norms: bool = False
    """Layer-norm gains too (their biases are biases)."""
