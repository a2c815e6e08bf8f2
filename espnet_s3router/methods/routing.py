"""Methods that mask: ``routing`` learns the masks, ``random`` and ``magnitude`` keep them fixed (the controls)."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.masks import (
    NM,
    GlobalRanking,
    MaskedTensor,
    Selector,
    Site,
    TopK,
    Units,
    find_sites,
    init_scores,
    init_scores_together,
    inject,
)
from espnet_s3router.masks.sites import maskable
from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.finetune import biases, norms
from espnet_s3router.methods.options import FixedMaskConfig, RoutingConfig
from espnet_s3router.upstreams import family_of, layer_indices


def routing(upstream: nn.Module, config: RoutingConfig) -> Attached:
    """Trainable scores on every site, frozen weights (S3-Router, arXiv 2211.01522 sec. 3.2)."""
    sites = sites_of(upstream, config.targets)
    generator = torch.Generator().manual_seed(config.seed)
    scores = mask_sites(sites, config, initial_scores(weights_of(sites), config, generator))
    trained = {
        name: parameter
        for name, (site, parameter) in scores.items()
        if site.layer is None or site.layer >= config.freeze_below
    }
    if not trained:
        raise InputError(f"mask_conf: freeze_below is {config.freeze_below}, and no masked layer is left to train")
    saved = {name: parameter for name, (_, parameter) in scores.items() if name not in trained}
    if config.train_weights:
        originals = {f"{site.name.rpartition('.')[0]}.parametrizations.{site.tensor}.original" for site in sites}
        trained |= {name: p for name, p in upstream.named_parameters() if name in originals}
    return Attached(upstream=upstream, trained=trained | extras(upstream, config), saved=freeze(saved))


def random(upstream: nn.Module, config: FixedMaskConfig) -> Attached:
    """Random masks of the same sparsity, head trained: what masking does by itself."""
    generator = torch.Generator().manual_seed(config.seed)
    sites = sites_of(upstream, config.targets)
    # of one spread whatever the shape: a global ranking compares them
    draw = functools.partial(init_scores, init="kaiming_uniform", spread=1.0, generator=generator)
    return fixed(upstream, config, sites, [draw(weight) for weight in weights_of(sites)])


def magnitude(upstream: nn.Module, config: FixedMaskConfig) -> Attached:
    """Magnitude masks, head trained: where ORI starts from, never learned."""
    sites = sites_of(upstream, config.targets)
    return fixed(upstream, config, sites, [init_scores(weight, "magnitude") for weight in weights_of(sites)])


def fixed(upstream: nn.Module, config: FixedMaskConfig, sites: list[Site], scores: Sequence[Tensor]) -> Attached:
    """Masks from scores that are saved but never trained."""
    placed = mask_sites(sites, config, scores)
    saved = freeze({name: parameter for name, (_, parameter) in placed.items()})
    return Attached(upstream=upstream, trained=extras(upstream, config), saved=saved)


def freeze(parameters: dict[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    """The same parameters, no longer trained."""
    for parameter in parameters.values():
        parameter.requires_grad_(False)
    return parameters


def sites_of(upstream: nn.Module, targets: str | tuple[str, ...]) -> list[Site]:
    """Sites of a target name or of patterns; InputError for a pattern without a hit."""
    family = family_of(upstream)
    if isinstance(targets, str):
        patterns = family.patterns(targets) if "." not in targets else [targets]
    else:
        patterns = [p for target in targets for p in (family.patterns(target) if "." not in target else [target])]
    groups = {name: family.patterns(name) for name in ("feed_forward", "attention", "conv")}
    try:
        layers = layer_indices(family, list(maskable(upstream)))
        return find_sites(upstream, patterns, groups=groups, layer_of=layers)
    except ValueError as error:
        raise InputError(f"mask_conf: targets: {error}") from error


def weights_of(sites: list[Site]) -> list[Tensor]:
    """The tensor of each site."""
    return [getattr(site.module, site.tensor) for site in sites]


def initial_scores(weights: Sequence[Tensor], config: RoutingConfig, generator: torch.Generator) -> list[Tensor]:
    """Where the search for the masks of ``weights`` begins: each tensor by itself, or all together in a global ranking."""
    if config.ranking == "global":
        return init_scores_together(weights, config.init, scale=config.scale, generator=generator)
    return [init_scores(weight, config.init, scale=config.scale, generator=generator) for weight in weights]


def mask_sites(sites: list[Site], config: FixedMaskConfig, scores: Sequence[Tensor]) -> dict[str, tuple[Site, nn.Parameter]]:
    """Mask every site in place with its scores; the score parameters by their path."""
    refuse_unused(sites, config)
    ranking = GlobalRanking(config.sparsity, config.rounding) if config.ranking == "global" else None
    placed = {}
    for site, values in zip(sites, scores, strict=True):
        dense = getattr(config, "train_weights", False)
        masked = MaskedTensor(values, selector_of(site, config, ranking), dense_gradient=dense)
        inject(site, masked)
        owner = site.name.rpartition(".")[0]
        placed[f"{owner}.parametrizations.{site.tensor}.0.scores"] = (site, masked.scores)
    return placed


def refuse_unused(sites: list[Site], config: FixedMaskConfig) -> None:
    """InputError for a sparsity of a layer or a group that has no site."""
    layers = sorted({site.layer for site in sites if site.layer is not None})
    for layer in config.layer_sparsity:
        if layer not in layers:
            raise InputError(f"mask_conf: layer_sparsity names layer {layer}, but the masked layers are {layers}")
    for group in ("feed_forward", "attention"):
        if getattr(config, f"{group}_sparsity") is not None and group not in {site.group for site in sites}:
            raise InputError(f"mask_conf: {group}_sparsity is given, but targets {config.targets!r} mask no {group} matrix")


def selector_of(site: Site, config: FixedMaskConfig, ranking: GlobalRanking | None) -> Selector:
    """The selector that ``config.ranking`` asks for at this site."""
    if ranking is not None:
        return ranking
    sparsity = config.sparsity_of(site.group, site.layer)
    if config.n_of_m is not None:
        keep, group = config.n_of_m
        width = getattr(site.module, site.tensor).shape[-1]
        if width % group:
            raise InputError(f"mask_conf: ranking is {config.ranking}, but {site.name} has {width} inputs per output")
        return NM(keep, group)
    if config.ranking.endswith("_units"):
        return Units(sparsity, dim=0 if config.ranking == "output_units" else 1, rounding=config.rounding)
    return TopK(sparsity, config.rounding)


def extras(upstream: nn.Module, config: FixedMaskConfig) -> dict[str, nn.Parameter]:
    """Biases and norms, if the configuration trains them."""
    family = family_of(upstream)
    found = biases(upstream, family) if config.train_biases else {}
    return found | (norms(upstream, family) if config.train_norms else {})
