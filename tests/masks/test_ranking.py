"""The choices of ranking: the selector and the counts of each."""

import pytest
import torch

from espnet_s3router.masks import global_masks, nm_mask, topk_mask, unit_mask
from espnet_s3router.masks.ranking import GlobalRanking, Ranking, make_selector, n_of_m

SCORES = torch.randn(8, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("ranking", "signed", "expected"),
    [
        ("matrix", False, topk_mask(SCORES, 0.5)),
        ("matrix", True, topk_mask(SCORES, 0.5, signed=True)),
        ("output_units", False, unit_mask(SCORES, 0.5, 0)),
        ("input_units", False, unit_mask(SCORES, 0.5, 1)),
        ("2:4", False, nm_mask(SCORES, 2, 4)),
    ],
)
def test_the_selector_of_each_ranking(ranking, signed, expected):
    assert torch.equal(make_selector(ranking, 0.5, "nearest", signed=signed).select(SCORES), expected)


def test_the_selector_of_a_global_ranking_is_shared():
    assert isinstance(make_selector("global", 0.5, "nearest"), GlobalRanking)


@pytest.mark.parametrize(
    ("text", "pattern"), [("2:4", (2, 4)), ("4:4", (4, 4)), ("0:4", None), ("5:4", None), ("2:4:8", None), (None, None)]
)
def test_patterns(text, pattern):
    assert n_of_m(text) == pattern


@pytest.mark.parametrize("kind", ["matrix", "global", "1:4"])
@pytest.mark.parametrize("rounding", ["nearest", "reference"])
def test_masks_and_counts_of_pruning(kind, rounding):
    saliency = {"a": SCORES, "b": 3 * SCORES.flip(0)[:5]}
    ranking = Ranking(kind, rounding)
    masks = ranking.masks(saliency, 0.3)
    expected = {
        "matrix": {name: topk_mask(values, 0.3, rounding) for name, values in saliency.items()},
        "global": global_masks(saliency, 0.3, rounding),
        "1:4": {name: nm_mask(values, 1, 4) for name, values in saliency.items()},
    }[kind]
    assert all(torch.equal(masks[name], mask) for name, mask in expected.items())
    removed = sum(int((~mask).sum()) for mask in masks.values())
    assert ranking.zeros({name: values.numel() for name, values in saliency.items()}, 0.3) == removed
