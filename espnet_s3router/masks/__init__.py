"""The mathematics of masks: which weights a score keeps, and how a mask is put on a tensor. Depends on torch alone."""

from espnet_s3router.masks.global_ranking import global_masks
from espnet_s3router.masks.inject import MaskedTensor, bake, inject, masked_tensors, remove, set_enabled, use
from espnet_s3router.masks.scores import init_scores, init_scores_together
from espnet_s3router.masks.select import nm_mask, topk_mask, unit_mask, zero_count
from espnet_s3router.masks.selectors import NM, GlobalRanking, Selector, TopK, Units
from espnet_s3router.masks.sites import Site, find_sites

__all__ = [
    "NM",
    "GlobalRanking",
    "MaskedTensor",
    "Selector",
    "Site",
    "TopK",
    "Units",
    "bake",
    "find_sites",
    "global_masks",
    "init_scores",
    "init_scores_together",
    "inject",
    "masked_tensors",
    "nm_mask",
    "remove",
    "set_enabled",
    "topk_mask",
    "unit_mask",
    "use",
    "zero_count",
]
