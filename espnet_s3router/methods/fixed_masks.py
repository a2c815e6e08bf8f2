"""Masks that are not learned: ``random`` and ``magnitude``, the controls of ``routing``. Masking of sites, for it too."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.masks import (
    Candidates,
    CandidateTensor,
    MaskedTensor,
    Selector,
    SharedUnits,
    Site,
    UnitGroup,
    init_scores,
    inject,
    make_selector,
)
from espnet_s3router.masks.names import scores_key
from espnet_s3router.masks.ranking import RANKINGS, SHARED, WHOLE_UNITS, n_of_m
from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.finetune import biases, norms
from espnet_s3router.methods.options import SparsityOptions, check, check_path, check_sparsity, layer_numbers, sites_of
from espnet_s3router.methods.structured.shared import shared_sites, widths_of_masks
from espnet_s3router.upstreams.structure import Widths


@dataclass(frozen=True, kw_only=True)
class FixedMaskConfig(SparsityOptions):
    """Masks that are not learned (``random``, ``magnitude``): the controls of ``routing``."""

    rankings: ClassVar[tuple[str, ...]] = RANKINGS

    targets: str | tuple[str, ...] = "feed_forward"
    """feed_forward, attention, all, conv, or fnmatch patterns of tensor paths."""
    feed_forward_sparsity: float | None = None
    """Overrides ``sparsity`` on feed-forward matrices."""
    attention_sparsity: float | None = None
    """Overrides ``sparsity`` on attention matrices."""
    layers: str | tuple[int, ...] | None = None
    """Transformer layers that carry masks (0 = lowest): a list, or a range such as 6-11. The others stay dense and store
    nothing. All layers by default."""
    layer_sparsity: Mapping[int, float] = field(default_factory=dict)
    """Overrides ``sparsity`` per Transformer layer (0 = lowest), and the sparsities of groups."""
    ranking: str = "matrix"
    """matrix (one for each tensor, as the paper), global, output_units, input_units, units, or N:M such as 2:4.
    units removes heads and inner units from all their matrices, so s3router shrink can take them out."""
    train_biases: bool = False
    """Also train the biases of the Transformer."""
    train_norms: bool = False
    """Also train the layer norms of the Transformer (Piggyback, arXiv 1801.06519)."""
    seed: int = 0
    """Seed of the score initialisation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("feed_forward_sparsity", "attention_sparsity"):
            if getattr(self, name) is not None:
                check_sparsity(name, getattr(self, name))
        if isinstance(self.layers, list):
            object.__setattr__(self, "layers", tuple(self.layers))
        layer_numbers(self.layers)
        check(isinstance(self.layer_sparsity, Mapping), "layer_sparsity", self.layer_sparsity, "layer: sparsity pairs")
        for layer, value in self.layer_sparsity.items():
            check(isinstance(layer, int) and layer >= 0, "layer_sparsity", layer, "layer numbers from 0 as keys")
            check_sparsity(f"layer_sparsity[{layer}]", value)
        overrides = self.layer_sparsity or self.feed_forward_sparsity is not None or self.attention_sparsity is not None
        if overrides and (self.ranking == "global" or n_of_m(self.ranking) is not None):
            raise InputError(
                f"mask_conf: ranking {self.ranking!r} with sparsities per layer or group is a contradiction: "
                "one ranking has one sparsity. Remove the overrides or use ranking: matrix"
            )

    def sparsity_of(self, group: str, layer: int | None) -> float:
        """Sparsity of a site: that of its layer if given, else that of its group, else the common one."""
        if layer is not None and layer in self.layer_sparsity:
            return self.layer_sparsity[layer]
        by_group = {"feed_forward": self.feed_forward_sparsity, "attention": self.attention_sparsity}.get(group)
        return self.sparsity if by_group is None else by_group


@dataclass(frozen=True, kw_only=True)
class MagnitudeConfig(FixedMaskConfig):
    """Masks of the largest magnitudes: of the weights, or of the scores of another run."""

    initial_mask: str | None = None
    """Model file of another run on the same upstream, for example in another language. The masks keep its largest scores or
    weights instead of the largest weights of this run. With its sparsity and ranking they are its masks, bit for bit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_path("initial_mask", self.initial_mask)
        if self.initial_mask is not None:  # a rank of each entry does not keep the order of the means of units
            allowed = "matrix, global or N:M with initial_mask: a unit has no score of the other run"
            check(self.ranking not in WHOLE_UNITS, "ranking", self.ranking, allowed)


@dataclass(kw_only=True)
class FixedMasks(Attached):
    """Masks that are not learned."""

    @torch.no_grad()
    def begin(self, start: Mapping[str, Tensor] | None = None, saliency: Mapping[str, Tensor] | None = None) -> None:
        """With ``saliency``, the masks keep its largest magnitudes."""
        super().begin(start)
        for name, scores in (saliency or {}).items():
            self.masks[name].load_scores(scores)

    def widths(self) -> Widths | None:
        return widths_of_masks(self.upstream, self.masks)


def random(upstream: nn.Module, config: FixedMaskConfig) -> FixedMasks:
    """Random masks of the same sparsity with a trained head: the effect of masking alone."""
    generator = torch.Generator().manual_seed(config.seed)
    # One spread for every shape, because a global ranking compares the scores of all tensors.
    return _fixed(upstream, config, lambda w: init_scores(w, "kaiming_uniform", spread=1.0, generator=generator))


def magnitude(upstream: nn.Module, config: MagnitudeConfig) -> FixedMasks:
    """Magnitude masks with a trained head: the masks that ``routing`` starts from, also with ``initial_mask``."""
    return _fixed(upstream, config, lambda weight: init_scores(weight, "magnitude"))


def _fixed(upstream: nn.Module, config: FixedMaskConfig, scores_of: Callable[[Tensor], Tensor]) -> FixedMasks:
    """Masks from scores that are saved and never trained."""
    sites = masked_sites(upstream, config)
    scores = mask_sites(sites, config, [scores_of(weight) for weight in weights_of(sites)])
    return FixedMasks(upstream=upstream, trained=layer_extras(upstream, config), saved=scores)


def masked_sites(upstream: nn.Module, config: FixedMaskConfig) -> list[Site]:
    """The sites of a configuration (see ``sites_of``), with the places of their units if its ranking shares them.

    Raises InputError also for sites whose units cannot be removed.
    """
    sites = sites_of(upstream, config.targets, config.ranking, config.layers)
    return shared_sites(upstream, sites) if config.ranking == SHARED else sites


def weights_of(sites: Sequence[Site]) -> list[Tensor]:
    """The tensor of each site."""
    return [getattr(site.module, site.tensor) for site in sites]


def mask_sites(
    sites: Sequence[Site],
    config: FixedMaskConfig,
    scores: Iterable[Tensor],
    candidates: Candidates | None = None,
    **options: Any,
) -> dict[str, nn.Parameter]:
    """Mask every site in place. Returns the score parameters by path, in the order of ``sites``.

    With ``candidates``, only these have scores. ``options`` are those of ``MaskedTensor``.
    """
    _refuse_unused(sites, config)
    shared = make_selector("global", config.sparsity, config.rounding) if config.ranking == "global" else None
    placed, groups = {}, dict[str, UnitGroup]()
    signed = options.get("estimator") == "signed"
    for site, values in zip(sites, scores, strict=True):
        sparsity, weight = config.sparsity_of(site.group, site.layer), getattr(site.module, site.tensor)
        if site.unit is not None:
            group = groups.setdefault(site.unit.group, UnitGroup(sparsity, config.rounding))
            selector: Selector = SharedUnits(group, site.unit.dim, site.unit.width)
        else:
            selector = shared or make_selector(
                config.ranking, sparsity, config.rounding, signed=signed, numel=weight.numel() if candidates else None
            )
        if candidates is None:
            masked = MaskedTensor(values, selector, shape=weight.shape, **options)
        else:
            masked = CandidateTensor(values, selector, candidates.positions(weight, site.name), **options)
        inject(site, masked)
        placed[scores_key(site.name)] = masked.scores
    return placed


def _refuse_unused(sites: Sequence[Site], config: FixedMaskConfig) -> None:
    """Raises InputError for the sparsity of a layer or a group that has no site."""
    layers = sorted({site.layer for site in sites if site.layer is not None})
    for layer in config.layer_sparsity:
        if layer not in layers:
            raise InputError(f"mask_conf: layer_sparsity names layer {layer}, but the masked layers are {layers}")
    groups = {site.group for site in sites}
    for group in ("feed_forward", "attention"):
        if getattr(config, f"{group}_sparsity") is not None and group not in groups:
            raise InputError(f"mask_conf: {group}_sparsity is given, but targets {config.targets!r} mask no {group} matrix")


def layer_extras(upstream: nn.Module, config: FixedMaskConfig) -> dict[str, nn.Parameter]:
    """Biases and layer norms that the configuration trains."""
    return (biases(upstream) if config.train_biases else {}) | (norms(upstream) if config.train_norms else {})
