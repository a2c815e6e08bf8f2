"""Learned masks (S3-Router, arXiv 2211.01522): the options and the handle that ``routing`` and ``routing_prune`` share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.masks import Candidates, init_scores, init_scores_together
from espnet_s3router.masks.names import original_key
from espnet_s3router.masks.ranking import UNITS, WHOLE_UNITS
from espnet_s3router.masks.scores import COMPARABLE_INITS, INITS, SIGNED_INITS, unit_saliency
from espnet_s3router.masks.straight_through import ESTIMATORS
from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.fixed_masks import FixedMaskConfig, layer_extras, mask_sites, masked_sites, weights_of
from espnet_s3router.methods.options import check, check_choice, check_path
from espnet_s3router.methods.structured.shared import widths_of_masks
from espnet_s3router.upstreams.structure import Widths


@dataclass(frozen=True, kw_only=True)
class LearnedMaskConfig(FixedMaskConfig):
    """Masks from scores that train."""

    init: str = "ori"
    """Score initialisation, see masks.scores."""
    scale: float = 1.0
    """Divides the initial scores. Relative to the learning rate it sets how fast masks change."""
    estimator: str = "magnitude"
    """Gradient of the scores, see masks.straight_through: magnitude (the paper), sigmoid (an option of its code) or signed.
    signed ranks scores with their signs: with train_weights and init zeros it is movement pruning (arXiv 2005.07683)."""
    score_per: str = "entry"
    """With output_units, input_units and units: entry (a score for each weight, a unit has their mean magnitude), or unit
    (one score for each row or column, as in the paper's code)."""
    train_weights: bool = False
    """Train the masked weights with their scores. Removed weights learn too, except with estimator signed."""
    freeze_below: int = 0
    """Masks of layers below this one keep their initial value."""
    initial_mask: str | None = None
    """Model file of another run on the same upstream, for example in another language. The first scores have the order of
    its scores or weights, instead of that of the weights of this run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_scores()
        check(self.freeze_below >= 0, "freeze_below", self.freeze_below, "a layer number from 0")
        check_path("initial_mask", self.initial_mask)
        if self.freeze_below and self.ranking == "global":
            raise InputError(
                "mask_conf: freeze_below with ranking 'global' is a contradiction: one ranking moves the masks of all "
                "layers. Remove freeze_below or use ranking: matrix"
            )

    @property
    def first_sparsity(self) -> float:
        """The sparsity of the first mask."""
        return self.sparsity

    def _check_scores(self) -> None:
        """Raises InputError for an initialisation, a ranking and an estimator that do not fit together."""
        check_choice("estimator", self.estimator, list(ESTIMATORS))
        check_choice("score_per", self.score_per, ("entry", "unit"))
        inits: tuple[str, ...] = INITS
        reason = f"ranking {self.ranking}"
        check(self.ranking in WHOLE_UNITS or self.score_per == "entry", "score_per", self.score_per, f"entry with {reason}")
        if self.estimator == "signed":
            check(self.ranking == "matrix", "ranking", self.ranking, "matrix with estimator signed")
            inits, reason = SIGNED_INITS, "estimator signed"
        elif self.initial_mask is not None:
            inits, reason = COMPARABLE_INITS, "initial_mask"
        elif self.ranking == "global":
            inits = COMPARABLE_INITS
        check(self.init in inits, "init", self.init, f"one of {', '.join(inits)} with {reason}")
        check(self.scale > 0, "scale", self.scale, "a number above 0")


class Learned(NamedTuple):
    """Parameters of masked sites, by path."""

    trained: dict[str, nn.Parameter]
    saved: dict[str, nn.Parameter]
    """Scores of masks that keep their initial value."""


@dataclass(kw_only=True)
class Routed(Attached):
    """Learned masks."""

    options: LearnedMaskConfig

    @torch.no_grad()
    def begin(self, start: Mapping[str, Tensor] | None = None, saliency: Mapping[str, Tensor] | None = None) -> None:
        """With ``saliency`` or ``start``, initialises the scores again from these."""
        super().begin(start)
        if start is None and saliency is None:
            return
        ranked = saliency or self.weights()
        order = [ranked[name].cpu() for name in self.masks]
        dims = [getattr(masked.selector, "dim", 0) for masked in self.masks.values()]
        for masked, scores in zip(self.masks.values(), initial_scores(order, self.options, dims), strict=True):
            masked.load_scores(scores)

    def widths(self) -> Widths | None:
        return widths_of_masks(self.upstream, self.masks)


def learn_masks(upstream: nn.Module, config: LearnedMaskConfig, candidates: Candidates | None = None) -> Learned:
    """Put scores on every site (with ``candidates`` on these alone) and say which parameters train."""
    sites = masked_sites(upstream, config)
    dense = config.train_weights and config.estimator != "signed"
    options = {"dense_gradient": dense, "estimator": config.estimator}
    dims = [site.unit.dim if site.unit else UNITS.index(config.ranking) if config.ranking in UNITS else 0 for site in sites]
    scores = mask_sites(sites, config, initial_scores(weights_of(sites), config, dims), candidates, **options)
    frozen = [name for name, site in zip(scores, sites) if site.layer is not None and site.layer < config.freeze_below]
    if len(frozen) == len(scores):
        raise InputError(f"mask_conf: freeze_below is {config.freeze_below}, and no masked layer is left to train")
    trained = {name: parameter for name, parameter in scores.items() if name not in frozen}
    if config.train_weights:
        trained |= {key: upstream.get_parameter(key) for key in (original_key(site.name) for site in sites)}
    trained |= layer_extras(upstream, config)
    return Learned(trained, {name: scores[name] for name in frozen})


def initial_scores(weights: Sequence[Tensor], config: LearnedMaskConfig, dims: Sequence[int]) -> Iterable[Tensor]:
    """Scores by ``config.init``, one for each entry or unit of ``weights``, made one after another. ``dims`` are the
    dimensions of their units.

    A global ranking initialises all together.
    """
    generator = torch.Generator().manual_seed(config.seed)
    options: dict[str, Any] = {"scale": config.scale, "generator": generator}
    if config.score_per == "unit":
        weights = [unit_saliency(weight, dim) for weight, dim in zip(weights, dims, strict=True)]
    if config.ranking == "global":
        return init_scores_together(weights, config.init, config.first_sparsity, config.rounding, **options)
    return (init_scores(weight, config.init, **options) for weight in weights)
