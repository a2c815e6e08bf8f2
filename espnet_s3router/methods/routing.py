"""``routing``: learned masks on frozen weights (S3-Router, arXiv 2211.01522), with options that make routes small."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.masks import Candidates, MaskedTensor, Site
from espnet_s3router.masks.candidates import SOURCES
from espnet_s3router.masks.code_length import sparsity_for_bytes
from espnet_s3router.masks.flip_penalty import favour_first_mask
from espnet_s3router.methods.fixed_masks import weights_of
from espnet_s3router.methods.learned_masks import LearnedMaskConfig, Routed, learn_masks
from espnet_s3router.methods.options import check, check_choice, check_count, sites_of


@dataclass(frozen=True, kw_only=True)
class RoutingConfig(LearnedMaskConfig):
    """Trains scores on frozen weights: S3-Router (arXiv 2211.01522)."""

    candidates: float = 1.0
    """Share of each matrix that may be removed, in (0, 1]. Scores, gradients and bytes exist for these weights alone.
    ``sparsity`` remains a fraction of the whole matrix."""
    candidates_from: str = "magnitude"
    """Which weights may be removed: magnitude (the smallest), largest, or random (a set that follows from ``seed``)."""
    flip_penalty: float = 0.0
    """Penalty for each bit that differs from the first mask, from 0, see masks.flip_penalty. At 1 the first mask stays."""
    target_bytes: int | None = None
    """Bytes of the coded masks in the route file, instead of ``sparsity``. All matrices get the same sparsity. With ranking
    global each gets its own, and the masks need at most these bytes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0.0 < self.candidates <= 1.0, "candidates", self.candidates, "a share of each matrix in (0, 1]")
        check_choice("candidates_from", self.candidates_from, SOURCES)
        check(0.0 <= self.flip_penalty < float("inf"), "flip_penalty", self.flip_penalty, "a number from 0, for example 0.3")
        check_count("target_bytes", self.target_bytes, 1)
        self._check_candidates()

    def _check_candidates(self) -> None:
        """Raises InputError for options that contradict a share of candidates."""
        if self.candidates == 1.0:
            allowed = "magnitude with candidates: 1.0, which are all weights"
            check(self.candidates_from == "magnitude", "candidates_from", self.candidates_from, allowed)
            return
        if self.ranking not in ("matrix", "global"):
            raise InputError(
                f"mask_conf: candidates with ranking {self.ranking!r} is a contradiction: it removes whole patterns or "
                "units, of which some weights would be no candidates. Use ranking: matrix or global"
            )
        sparsities: dict[str, float | None] = {
            "sparsity": self.sparsity,
            "feed_forward_sparsity": self.feed_forward_sparsity,
            "attention_sparsity": self.attention_sparsity,
            **{f"layer_sparsity[{layer}]": value for layer, value in self.layer_sparsity.items()},
        }
        for name, value in sparsities.items():
            allowed = f"a fraction of the whole matrix below candidates ({self.candidates}): only these may be removed"
            check(value is None or value < self.candidates, name, value, allowed)

    def _check_sparsity(self) -> None:
        if self.target_bytes is None:
            super()._check_sparsity()
            return
        others: dict[str, object] = {
            "keep": None,
            "sparsity": None,
            "feed_forward_sparsity": None,
            "attention_sparsity": None,
        }
        others |= {"layer_sparsity": {}, "flip_penalty": 0.0}
        for name, default in others.items():
            if getattr(self, name) != default:
                raise InputError(
                    f"mask_conf: target_bytes with {name} {getattr(self, name)!r} is a contradiction: the target sets one "
                    "sparsity for all matrices, and needs masks whose bytes follow from it. Remove one of them"
                )
        check_choice("ranking", self.ranking, ("matrix", "global"))

    @property
    def rule(self) -> Candidates | None:
        """The rule that names the candidates. None if all weights are candidates."""
        if self.candidates == 1.0:
            return None
        return Candidates(share=self.candidates, source=self.candidates_from, seed=self.seed)


@dataclass(kw_only=True)
class PenalisedRouting(Routed):
    """Learned masks that may be held near the first ones."""

    options: RoutingConfig
    _first: list[tuple[MaskedTensor, Tensor]] = field(default_factory=list)
    """The masks that train with the first mask of each, in the shape of its scores."""

    @torch.no_grad()
    def begin(self, start: Mapping[str, Tensor] | None = None, saliency: Mapping[str, Tensor] | None = None) -> None:
        super().begin(start, saliency)
        if self.options.flip_penalty:
            trained = [masked for masked in self.masks.values() if masked.scores.requires_grad]
            self._first = [(masked, masked.selector.select(masked.scores.detach())) for masked in trained]

    @torch.no_grad()
    def step(self, update: int, optimizer: torch.optim.Optimizer) -> None:
        rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
        for masked, first in self._first:
            amount = self.options.flip_penalty * rates[id(masked.scores)]
            signed = masked.estimator == "signed"
            favour_first_mask(masked.scores, first.to(masked.scores.device), amount, signed=signed)


def routing(upstream: nn.Module, config: RoutingConfig) -> PenalisedRouting:
    """Train scores on every site while the weights stay frozen (arXiv 2211.01522 sec. 3.2)."""
    rule = config.rule
    if config.target_bytes is not None:
        sites = sites_of(upstream, config.targets, config.ranking, config.layers)
        config = replace(config, sparsity=_fitting_sparsity(sites, rule, config), target_bytes=None)
    learned = learn_masks(upstream, config, rule)
    return PenalisedRouting(upstream=upstream, trained=learned.trained, saved=learned.saved, options=config, candidates=rule)


def _fitting_sparsity(sites: Sequence[Site], rule: Candidates | None, config: RoutingConfig) -> float:
    """The sparsity whose masks need ``target_bytes`` if it is the same for all matrices, as in the paper.

    At a given number of removed weights equal shares need the most bytes, because entropy is concave. So masks of a global
    ranking with this sparsity over all matrices need no more.
    """
    numels = [weight.numel() for weight in weights_of(sites)]
    sizes = [(numel, rule.count(numel) if rule else numel) for numel in numels]
    try:
        return sparsity_for_bytes(config.target_bytes or 0, sizes, config.rounding)
    except ValueError as error:
        raise InputError(f"mask_conf: target_bytes is {config.target_bytes}, but {error}") from error
