"""Candidates: only a part of a tensor has scores, and its mask is that of full scores that never leave the others."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from espnet_s3router.masks import (
    Candidates,
    CandidateTensor,
    GlobalRanking,
    MaskedTensor,
    Site,
    TopK,
    bake,
    global_masks,
    init_scores,
    inject,
    zero_count,
)
from espnet_s3router.masks.candidates import random_keys
from espnet_s3router.masks.ranking import SignedTopK
from espnet_s3router.masks.recomputed_product import recomputed_products

QUARTER = Candidates(share=0.25)
RANDOM = Candidates(share=0.25, source="random", seed=3)


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def splitmix64(seed, count):
    """Reference of Steele, Lea and Flood (2014) in Python's whole numbers; signed, as torch has them."""
    found, state = [], seed
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        z ^= z >> 31
        found.append(z - 2**64 if z >= 2**63 else z)
    return found


class TestRule:
    @given(st.integers(1, 300), st.floats(0.001, 0.999), st.sampled_from(["magnitude", "largest", "random"]))
    def test_count(self, numel, share, source):
        rule = Candidates(share=share, source=source)
        positions = rule.positions(draw(numel), "x")
        assert len(positions) == rule.count(numel) == min(math.floor(share * numel + 0.5), numel - 1)
        assert (positions.diff() > 0).all() and positions.dtype == torch.int64

    def test_the_smallest_magnitudes_with_the_lower_index_first(self):
        weight = torch.tensor([[3.0, -1.0, 1.0], [0.0, 1.0, -2.0]])
        assert Candidates(share=0.5).positions(weight, "x").tolist() == [1, 2, 3]
        large = draw(30, 50)
        expected = large.abs().flatten().argsort(stable=True)[:375].sort().values
        assert torch.equal(QUARTER.positions(large, "x"), expected)

    def test_the_largest_magnitudes(self):
        weight = draw(30, 50)
        expected = weight.abs().flatten().argsort(stable=True, descending=True)[:375].sort().values
        assert torch.equal(Candidates(share=0.25, source="largest").positions(weight, "x"), expected)

    def test_random_keys_are_those_of_splitmix64(self):
        import hashlib

        seed = int.from_bytes(hashlib.sha256(b"3 layers.0").digest()[:8], "little")
        assert random_keys(1000, "3 layers.0").tolist() == splitmix64(seed, 1000)
        assert random_keys(70000, "3 layers.0")[-5:].tolist() == splitmix64(seed, 70000)[-5:]  # of the third block

    def test_a_random_set_is_the_same_on_every_machine(self):
        """Files rely on these numbers."""
        rule = Candidates(share=0.2, source="random", seed=7)
        assert rule.positions(draw(40), "a.weight").tolist() == [4, 10, 12, 20, 21, 26, 31, 38]

    @pytest.mark.parametrize(("numel", "share"), [(100000, 0.3), (50, 0.02), (3, 0.5), (99999, 0.999)])
    def test_random_sets_have_the_smallest_keys(self, numel, share):
        rule = Candidates(share=share, source="random")
        expected = random_keys(numel, "0 x").argsort()[: rule.count(numel)].sort().values
        assert torch.equal(rule.positions(torch.empty(numel), "x"), expected)

    def test_random_sets_follow_from_seed_and_name(self):
        weight = draw(100, 100)
        sets = [
            set(Candidates(share=0.25, source="random", seed=seed).positions(weight, name).tolist())
            for seed, name in ((0, "a"), (0, "a"), (1, "a"), (0, "b"))
        ]
        assert sets[0] == sets[1]
        for other in sets[2:]:
            assert len(sets[0] & other) / 2500 == pytest.approx(0.25, abs=0.03)

    @pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
    def test_share_outside_its_range(self, share):
        with pytest.raises(ValueError, match=r"share of candidates is .*, expected a fraction in \(0, 1\)"):
            Candidates(share=share)

    def test_unknown_source(self):
        with pytest.raises(ValueError, match="of candidates is 'weights', expected one of magnitude, largest, random"):
            Candidates(share=0.5, source="weights")


def pair(rule, sparsity=0.1, signed=False, weight=None, **options):
    """(mask over candidates, mask over all entries whose other scores are out of reach), and the positions."""
    weight = draw(40, 30) if weight is None else weight
    scores, positions = draw(*weight.shape, seed=1), rule.positions(weight, "x")
    full = scores.abs() + 100.0
    full.view(-1)[positions] = scores.flatten()[positions]
    kind = SignedTopK if signed else TopK
    few = CandidateTensor(scores, kind(sparsity, numel=weight.numel()), positions, **options)
    return few, MaskedTensor(full, kind(sparsity), **options), positions


@pytest.mark.parametrize("rule", [QUARTER, RANDOM], ids=["magnitude", "random"])
class TestMask:
    @pytest.mark.parametrize("signed", [False, True])
    def test_is_that_of_full_scores(self, rule, signed):
        few, full, positions = pair(rule, signed=signed)
        assert few.scores.shape == (300,) and few.choices == 300 and full.choices == 1200
        for seed in range(5):  # the search starts from the last threshold
            assert torch.equal(few.mask, full.mask)
            assert int((~few.mask).sum()) == 120
            with torch.no_grad():
                moved = draw(300, seed=seed + 10) * 0.1
                few.scores.add_(moved)
                full.scores.view(-1)[positions] += moved
            full.touch()

    def test_gradients_are_those_of_full_scores(self, rule):
        weight = draw(40, 30)
        for options in ({}, {"estimator": "sigmoid"}, {"dense_gradient": True}):
            few, full, positions = pair(rule, weight=weight, **options)
            found = []
            for masked in (few, full):
                leaf = weight.clone().requires_grad_("dense_gradient" in options)
                (masked(leaf).t() @ draw(40, 7, seed=2)).square().sum().backward()
                found.append((masked.scores.grad, leaf.grad))
            (few_grad, few_weight), (full_grad, full_weight) = found
            assert torch.equal(few_grad, full_grad.flatten()[positions]) and (few_grad != 0).all()
            assert few_weight is full_weight is None or torch.equal(few_weight, full_weight)

    def test_only_scores_are_saved(self, rule):
        few, _, positions = pair(rule)
        assert list(few.state_dict()) == ["scores"] and not list(few.buffers())
        again = copy.deepcopy(few)
        assert torch.equal(again.positions(), positions) and torch.equal(again.mask, few.mask)

    def test_scores_of_another_run(self, rule):
        few, _, positions = pair(rule)
        with torch.no_grad():
            few.load_scores(draw(40, 30, seed=5))
        assert torch.equal(few.scores, draw(40, 30, seed=5).flatten()[positions])

    def test_baked(self, rule):
        linear = nn.Linear(30, 40).requires_grad_(False)
        few, _, _ = pair(rule, weight=linear.weight.detach())
        inject(Site(name="weight", module=linear, tensor="weight"), few)
        expected = linear.weight.clone()
        bake(linear)
        assert torch.equal(linear.weight, expected) and int((linear.weight == 0).sum()) == 120

    def test_products_that_are_computed_again(self, rule):
        linear, x = nn.Linear(30, 40).requires_grad_(False), draw(5, 30)
        few, _, _ = pair(rule, weight=linear.weight.detach())
        inject(Site(name="weight", module=linear, tensor="weight"), few)
        model = nn.Sequential(nn.Linear(30, 30), linear)
        model(x).square().sum().backward()
        expected, few.scores.grad = few.scores.grad, None
        with recomputed_products():
            loss = model(x).square().sum()
        loss.backward()
        assert torch.equal(few.scores.grad, expected)

    def test_bfloat16(self, rule):
        linear, x = nn.Linear(30, 40).requires_grad_(False), draw(5, 30)
        few, full, positions = pair(rule, weight=linear.weight.detach())
        inject(Site(name="weight", module=linear, tensor="weight"), few)
        with torch.autocast("cpu", torch.bfloat16):
            linear(x).square().sum().backward()
        assert few.scores.grad.dtype == torch.float32 and (few.scores.grad != 0).any()


def test_one_ranking_over_the_candidates_of_all_tensors():
    """The sparsity is a fraction of all entries."""
    weights, ranking = [draw(40, 30), draw(20, 25, seed=4)], GlobalRanking(0.1)
    positions = [QUARTER.positions(weight, "x") for weight in weights]
    scores = [draw(*weight.shape, seed=n + 8) * (n + 1) for n, weight in enumerate(weights)]
    masked = [CandidateTensor(s, ranking, p) for s, p in zip(scores, positions)]
    full = {}
    for number, (values, chosen) in enumerate(zip(scores, positions)):
        full[str(number)] = torch.full_like(values, 100.0)
        full[str(number)].view(-1)[chosen] = values.flatten()[chosen]
    for ours, expected in zip(masked, global_masks(full, 0.1).values()):
        assert torch.equal(ours.mask, expected)
    assert sum(int((~m.mask).sum()) for m in masked) == zero_count(1700, 0.1) == 170


def test_positions_far_apart():
    """A gap that two bytes cannot hold."""
    weight = torch.ones(70000)
    weight[[5, 69998]] = 0.0
    rule = Candidates(share=2 / 70000)
    few = CandidateTensor(init_scores(weight, "ori"), TopK(1 / 70000, numel=70000), rule.positions(weight, "x"))
    assert few.positions().tolist() == [5, 69998] and int((~few.mask).sum()) == 1


def test_no_candidate():
    few = CandidateTensor(torch.ones(3), TopK(0.0, numel=3), Candidates(share=0.1).positions(torch.ones(3), "x"))
    assert few.mask.all() and few.choices == 0


def test_state_is_small():
    """Scores, gradient, both moments of Adam and the positions, against those of full scores: below 0.3."""
    weight = draw(200, 300)
    sizes = []
    for rule in (QUARTER, None):
        scores = init_scores(weight, "ori")
        if rule is None:
            masked = MaskedTensor(scores, TopK(0.08))
        else:
            masked = CandidateTensor(scores, TopK(0.08, numel=weight.numel()), rule.positions(weight, "x"))
        adam = torch.optim.Adam(masked.parameters())
        masked(weight).square().sum().backward()
        adam.step()
        state = [*adam.state[masked.scores].values(), masked.scores, masked.scores.grad, *([masked.gaps] if rule else [])]
        sizes.append(sum(tensor.nbytes for tensor in state))
    assert sizes[0] / sizes[1] < 0.3
