"""Agreement of masks against chance, and merged routes."""

from dataclasses import replace

import pytest
import torch
from toy_routes import head, route

from espnet_s3router.errors import InputError
from espnet_s3router.masks import Candidates, topk_mask
from espnet_s3router.routes import combine, difference


def random_route(seed, sparsity=0.1):
    generator = torch.Generator().manual_seed(seed)
    masks = {name: topk_mask(torch.rand(200, 300, generator=generator), sparsity) for name in ("a.weight", "b.weight")}
    return route(masks=masks, tensors=head(seed))


def test_equal_and_independent_masks():
    first, second = random_route(0), random_route(1)
    same = difference(first, first)
    assert (same["iou"], same["cosine"], same["sparsity_first"]) == (1.0, pytest.approx(1.0), pytest.approx(0.1))
    other = difference(first, second)
    assert other["iou_chance"] == pytest.approx(0.1 / 1.9) and other["iou"] == pytest.approx(0.1 / 1.9, abs=0.005)
    assert other["cosine"] == pytest.approx(0.9, abs=0.005)
    assert set(other["sites"]) == {"a.weight", "b.weight"}


def test_chance_among_common_candidates():
    """Two masks that may remove the same quarter meet more often by chance."""
    rule = Candidates(share=0.25, source="random")
    positions = rule.positions(torch.empty(200, 300), "a.weight")
    routes = []
    for seed in (0, 1):
        scores = torch.full((60000,), 2.0)
        scores[positions] = torch.rand(15000, generator=torch.Generator().manual_seed(seed))
        masks = {"a.weight": topk_mask(scores.view(200, 300), 0.1)}
        routes.append(route(masks=masks, tensors=head(seed), candidates=rule))
    figures = difference(*routes)
    assert figures["iou_chance"] == pytest.approx(0.4 / 1.6) == figures["sites"]["a.weight"]["iou_chance"]
    assert figures["iou"] == pytest.approx(0.25, abs=0.02)
    other = replace(routes[1], candidates=Candidates(share=0.25, source="random", seed=1))
    assert difference(routes[0], other)["iou_chance"] == pytest.approx(0.1 / 1.9)


def test_measures_of_small_masks_by_hand():
    first = route(masks={"a": torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]]).bool()})
    second = route(masks={"a": torch.tensor([[0, 1, 0, 0], [1, 1, 1, 1]]).bool()})
    figures = difference(first, second)
    assert figures["iou"] == pytest.approx(1 / 4)  # both remove one of four
    assert figures["iou_chance"] == pytest.approx((2 * 3 / 8) / (5 - 2 * 3 / 8))
    assert figures["cosine"] == pytest.approx(4 / (6 * 5) ** 0.5)
    full = route(masks={"a": torch.ones(2, 4).bool()})
    assert difference(full, full)["iou"] == 1.0


def test_rules():
    rows = ([[0, 0, 1, 1]], [[0, 1, 0, 1]], [[0, 1, 1, 1]])
    routes = {str(n): route(masks={"a": torch.tensor(row).bool()}, tensors=head(n)) for n, row in enumerate(rows)}
    kept = {rule: combine(routes, rule).masks["a"].int().tolist() for rule in ("union", "intersection", "majority")}
    assert kept == {"union": [[0, 1, 1, 1]], "intersection": [[0, 0, 0, 1]], "majority": [[0, 1, 1, 1]]}
    pair = {name: routes[name] for name in ("0", "1")}
    assert combine(pair, "majority").masks["a"].int().tolist() == [[0, 0, 0, 1]]  # one of two is no majority


def test_the_rest_comes_from_one_route():
    routes = {"x": random_route(0), "y": random_route(1)}
    merged = combine(routes, "union", "y")
    assert merged.tensors is routes["y"].tensors
    assert merged.metadata["merged"] == {"rule": "union", "head": "y", "masks": ["x", "y"]}
    assert "metrics" not in merged.metadata  # they were measured with other masks


def test_candidates_stay_where_all_routes_have_them():
    """Otherwise the merged mask may remove weights that the rule of one route does not name."""
    rules = [Candidates(share=0.25, source="random", seed=seed) for seed in (0, 1)]
    routes = {str(n): replace(random_route(n), candidates=rule) for n, rule in enumerate(rules)}
    assert combine(routes, "intersection").candidates is None
    same = {name: replace(one, candidates=rules[0]) for name, one in routes.items()}
    assert combine(same, "intersection").candidates == rules[0]
    assert combine({**same, "dense": random_route(2)}, "union", "dense").candidates is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base": "f" * 64}, "x and y belong to different bases: fingerprints 0123456789ab… and ffffffffffff"),
        (
            {"masks": {"a.weight": torch.ones(2, 2).bool()}},
            r"different tensors, for example a.weight: \(200, 300\) and",
        ),
        ({"masks": {}}, "for example a.weight: .* and no mask"),
    ],
)
def test_routes_that_do_not_compare(change, message):
    with pytest.raises(InputError, match=message):
        combine({"x": random_route(0), "y": replace(random_route(1), **change)}, "union")


def test_bad_arguments():
    routes = {"x": random_route(0), "y": random_route(1)}
    for arguments, message in (
        ((routes, "xor"), "rule is 'xor', expected one of union"),
        (({"x": routes["x"]}, "union"), "got 1 route, expected at least two"),
        ((routes, "union", "z"), "from 'z', expected one of x, y"),
    ):
        with pytest.raises(InputError, match=message):
            combine(*arguments)
    with pytest.raises(InputError, match=r"first has no masks \(method routing\)"):
        difference(replace(routes["x"], masks={}), routes["y"])
