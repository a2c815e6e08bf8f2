"""The mathematics of masks: which weights the scores keep, and how a mask acts on a tensor. Depends on torch alone."""

from espnet_s3router.masks.candidates import Candidates, CandidateTensor
from espnet_s3router.masks.inject import MaskedTensor, bake, inject, masked_tensors
from espnet_s3router.masks.language_masks import LanguageTensor
from espnet_s3router.masks.ranking import NM, GlobalRanking, Selector, TopK, Units, make_selector
from espnet_s3router.masks.scores import init_scores, init_scores_together
from espnet_s3router.masks.select import global_masks, nm_mask, topk_mask, unit_mask, zero_count
from espnet_s3router.masks.shared_units import SharedBy, SharedUnits, UnitGroup
from espnet_s3router.masks.sites import Site, find_sites

__all__ = [
    "NM",
    "CandidateTensor",
    "Candidates",
    "GlobalRanking",
    "LanguageTensor",
    "MaskedTensor",
    "Selector",
    "SharedBy",
    "SharedUnits",
    "Site",
    "TopK",
    "UnitGroup",
    "Units",
    "bake",
    "find_sites",
    "global_masks",
    "init_scores",
    "init_scores_together",
    "inject",
    "make_selector",
    "masked_tensors",
    "nm_mask",
    "topk_mask",
    "unit_mask",
    "zero_count",
]
