"""routing with candidates, layers, a penalty on flips, and a target in bytes."""

import math

import pytest
import torch
from toy_runs import WAVE, attached_toy
from toys import toy_expert

from espnet_s3router.errors import InputError
from espnet_s3router.masks import global_masks, topk_mask
from espnet_s3router.methods import attach
from espnet_s3router.routes.codec import encode

ROUTING = {"method": "routing", "sparsity": 0.1}


def train(conf, updates=6, rate=0.02, **begin):
    """(handle, first masks) after a few Adam updates."""
    expert = toy_expert()
    attached = attach(expert, conf)
    attached.begin(**begin)
    first = {name: mask.clone() for name, mask in attached.kept().items()}
    adam = torch.optim.Adam(attached.trained.values(), lr=rate)
    for update in range(1, updates + 1):
        adam.zero_grad()
        out = expert(WAVE)
        (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(update))).sum().backward()
        adam.step()
        attached.step(update, adam)
    return attached, first


def smallest(weight, share):
    """The share of entries with the smallest magnitudes, as flags."""
    order = weight.abs().flatten().argsort(stable=True)[: round(share * weight.numel())]
    flags = torch.zeros(weight.numel(), dtype=torch.bool)
    flags[order] = True
    return flags.view(weight.shape)


class TestCandidates:
    def test_all_candidates_are_the_method_as_before(self):
        """Same keys, same bits, same class."""
        (plain, _), (all_of_them, _) = train(ROUTING), train({**ROUTING, "candidates": 1.0})
        assert plain.trained.keys() == all_of_them.trained.keys()
        for name, scores in plain.trained.items():
            assert torch.equal(scores, all_of_them.trained[name])
        assert {type(m).__name__ for m in all_of_them.masks.values()} == {"MaskedTensor"}

    @pytest.mark.parametrize("ranking", ["matrix", "global"])
    @pytest.mark.parametrize("init", ["ori", "ori_sampled", "magnitude"])
    def test_the_first_mask_is_the_magnitude_mask(self, init, ranking):
        _, attached = attached_toy(**ROUTING, candidates=0.25, init=init, ranking=ranking)
        base = {name: toy_expert().get_parameter(name).detach() for name in attached.masks}
        if ranking == "matrix":
            expected = {name: topk_mask(weight, 0.1) for name, weight in base.items()}
        else:  # one ranking: of all candidates together
            expected = global_masks({n: w.where(smallest(w, 0.25), 1e3) for n, w in base.items()}, 0.1)
        assert all(torch.equal(mask, expected[name]) for name, mask in attached.kept().items())

    def test_only_the_smallest_weights_are_ever_removed(self):
        attached, first = train({**ROUTING, "candidates": 0.25})
        assert any(not torch.equal(mask, first[name]) for name, mask in attached.kept().items())
        for name, mask in attached.kept().items():
            weight = toy_expert().get_parameter(name)
            assert not (~mask & ~smallest(weight, 0.25)).any() and int((~mask).sum()) == 51
            assert attached.masks[name].scores.shape == (128,)

    def test_random_candidates_follow_from_the_seed(self):
        removed = {}
        for seed in (0, 0, 1):
            attached, _ = train({**ROUTING, "candidates": 0.25, "candidates_from": "random", "seed": seed})
            for name, masked in attached.masks.items():
                chosen = set(masked.positions().tolist())
                assert set((~masked.mask).flatten().nonzero().flatten().tolist()) <= chosen
                removed.setdefault(name, []).append(chosen)
        for sets in removed.values():
            assert sets[0] == sets[1] != sets[2]

    def test_a_first_mask_from_another_run(self):
        """Of the candidates those go first that rank lowest there."""
        conf = {**ROUTING, "candidates": 0.5, "initial_mask": "m"}
        expert, attached = attached_toy(**conf)
        ranked = {n: torch.randn(m.shape, generator=torch.Generator().manual_seed(5)) for n, m in attached.kept().items()}
        attached.begin(saliency=ranked)
        for name, mask in attached.kept().items():
            weight = toy_expert().get_parameter(name)
            assert torch.equal(mask, topk_mask(ranked[name].where(smallest(weight, 0.5), 1e3), 0.1))

    def test_weights_may_train_too(self):
        attached, _ = train({**ROUTING, "candidates": 0.25, "train_weights": True})
        moved = [not torch.equal(t, toy_expert().get_parameter(name)) for name, t in attached.weights().items()]
        assert all(moved)


class TestLayers:
    @pytest.mark.parametrize(("layers", "expected"), [([0, 2], {0, 2}), ("1-2", {1, 2}), ((1,), {1}), ("0-0", {0})])
    def test_other_layers_stay_dense(self, layers, expected):
        _, attached = attached_toy(**ROUTING, targets="all", layers=layers)
        assert {int(name.split(".")[3]) for name in attached.masks} == expected
        assert len(attached.masks) == 6 * len(expected) == len(attached.trained)

    def test_sites_outside_the_layers_are_not_concerned(self):
        _, attached = attached_toy(**ROUTING, targets=["conv", "feed_forward"], layers=[2])
        assert len(attached.masks) == 3

    def test_controls_mask_the_same_layers(self):
        _, attached = attached_toy(method="random", sparsity=0.2, layers="1-2")
        assert {name.split(".")[3] for name in attached.masks} == {"1", "2"}

    @pytest.mark.parametrize("conf", [{"layers": [0, 3]}, {"layers": "2-4"}, {"layers": [1], "targets": "conv"}])
    def test_layers_that_are_not_there(self, conf):
        with pytest.raises(InputError, match=r"layers is .*, expected some of \[.*\], where targets .* lie"):
            attached_toy(**{**ROUTING, **conf})


class TestFlipPenalty:
    def test_none_is_the_method_as_before(self):
        (plain, _), (without, _) = train(ROUTING), train({**ROUTING, "flip_penalty": 0.0})
        assert all(torch.equal(scores, without.trained[name]) for name, scores in plain.trained.items())

    @pytest.mark.parametrize(
        "more",
        [{}, {"candidates": 0.25}, {"ranking": "global"}, {"ranking": "output_units", "score_per": "unit"}],
        ids=str,
    )
    def test_one_keeps_the_first_mask(self, more):
        conf = {**ROUTING, **more}
        attached, first = train(conf)
        assert any(not torch.equal(mask, first[name]) for name, mask in attached.kept().items())
        attached, first = train({**conf, "flip_penalty": 1.1})
        assert all(torch.equal(mask, first[name]) for name, mask in attached.kept().items())

    def test_the_first_mask_may_come_from_another_run(self):
        conf = {**ROUTING, "flip_penalty": 1.1, "initial_mask": "m"}
        generator = torch.Generator().manual_seed(5)
        ranked = {n: torch.randn(m.shape, generator=generator) for n, m in attached_toy(**conf)[1].kept().items()}
        attached, first = train(conf, saliency=ranked)
        for name, mask in attached.kept().items():
            assert torch.equal(mask, topk_mask(ranked[name], 0.1)) and torch.equal(mask, first[name])

    def test_frozen_masks_get_no_penalty(self):
        attached, first = train({**ROUTING, "flip_penalty": 0.5, "freeze_below": 1})
        fresh = attached_toy(**ROUTING)[1]
        for name, scores in attached.saved.items():
            assert torch.equal(scores, fresh.trained[name])

    def test_scores_move_with_their_own_rate(self):
        expert, attached = attached_toy(**ROUTING, flip_penalty=0.5)
        attached.begin()
        first, *others = attached.trained.values()
        optimizer = torch.optim.SGD([{"params": [first], "lr": 0.5}, {"params": others, "lr": 0.0}])
        before = [p.detach().abs() for p in (first, *others)]
        attached.step(1, optimizer)
        kept = attached.masks["model.encoder.layers.0.fc1.weight"].mask
        torch.testing.assert_close((first.abs() - before[0])[kept], torch.full((461,), 0.25))
        assert all(torch.equal(p.abs(), old) for p, old in zip(others, before[1:]))


class TestTargetBytes:
    def test_one_sparsity_whose_masks_need_the_target(self):
        _, attached = attached_toy(method="routing", target_bytes=150, targets="all")
        shares = {float((~mask).float().mean()) for mask in attached.kept().values()}
        assert max(shares) - min(shares) < 1 / 256

        def bits(mask):
            zeros, count = int((~mask).sum()), mask.numel()
            return -sum(n * math.log2(n / count) for n in (zeros, count - zeros) if n)

        assert sum(map(bits, attached.kept().values())) / 8 == pytest.approx(150, abs=10)  # one more in each of 18

    @pytest.mark.parametrize("more", [{}, {"candidates": 0.25}, {"candidates": 0.1, "candidates_from": "random"}], ids=str)
    def test_the_coded_masks_have_the_target(self, more):
        """Matrices large enough for the coder; masks as forgetful as learned ones."""
        expert = toy_expert()
        for number, layer in enumerate(expert.model.encoder.layers):
            generator = torch.Generator().manual_seed(number)
            for name, shape in (("fc1", (256, 192)), ("fc2", (192, 256))):
                weight = torch.randn(shape, generator=generator)
                getattr(layer, name).weight = torch.nn.Parameter(weight)
        attached = attach(expert, {"method": "routing", "target_bytes": 3000, **more})
        with torch.no_grad():
            for masked in attached.masks.values():
                masked.scores.copy_(torch.randn(masked.scores.shape, generator=torch.Generator().manual_seed(9)))
        base = attached.weights()
        coded = [encode(mask, base[name], attached.candidates, name) for name, mask in attached.kept().items()]
        assert sum(len(code.data) for code in coded) == pytest.approx(3000, rel=0.02)
        assert len({code.zeros for code in coded}) == 1

    @pytest.mark.parametrize("more", [{}, {"candidates": 0.5, "candidates_from": "random"}], ids=str)
    def test_a_global_ranking_divides_the_target_among_the_matrices(self, more):
        expert, attached = attached_toy(method="routing", target_bytes=150, targets="all", ranking="global", **more)
        for number, masked in enumerate(attached.masks.values()):
            masked.scores.data.mul_(1.0 + 0.1 * number)  # the first matrices lose more
        shares, needed = set(), 0.0
        rule = attached.candidates
        for mask in attached.kept().values():
            zeros, count = int((~mask).sum()), rule.count(mask.numel()) if rule else mask.numel()
            shares.add(zeros / mask.numel())
            needed -= sum(n * math.log2(n / count) for n in (zeros, count - zeros) if n) / 8
        assert max(shares) > 2 * min(shares)
        assert 100 < needed <= 150

    def test_other_rankings_are_refused(self):
        with pytest.raises(InputError, match="mask_conf: ranking is '2:4', expected"):
            attached_toy(method="routing", target_bytes=150, ranking="2:4")

    @pytest.mark.parametrize(("target", "message"), [(10**6, "masks hold at most 384 bytes"), (1, "no weight could be")])
    def test_targets_that_no_sparsity_meets(self, target, message):
        with pytest.raises(InputError, match=f"mask_conf: target_bytes is {target}, but .*{message}"):
            attached_toy(method="routing", target_bytes=target)
