"""routing and its controls: first masks, frozen layers and trained weights."""

import pytest
import torch
from toy_runs import WAVE, attached_toy
from toys import ToyExpert, toy_expert

from espnet_s3router.masks import global_masks, topk_mask, unit_mask
from espnet_s3router.methods import attach


def test_magnitude_is_where_ori_starts_and_stays():
    expert, routed = attached_toy(method="routing", sparsity=0.3)
    other, fixed = attached_toy(method="magnitude", sparsity=0.3)
    for name, masked in routed.masks.items():
        weight = toy_expert().get_parameter(name)
        assert torch.equal(masked.mask, topk_mask(weight, 0.3))
        assert torch.equal(masked.mask, fixed.masks[name].mask)
    assert not any(m.scores.requires_grad for m in fixed.masks.values())
    assert set(fixed.saved) == set(routed.trained)


def test_random_masks_come_from_the_seed():
    """They differ between sites and seeds, and overlap with magnitude masks by chance only."""
    _, first = attached_toy(method="random", sparsity=0.5)
    _, other = attached_toy(method="random", sparsity=0.5, seed=1)
    _, magnitude = attached_toy(method="magnitude", sparsity=0.5)
    bits, others, reference = (torch.cat([m.mask.flatten() for m in a.masks.values()]) for a in (first, other, magnitude))
    for second in (others, reference, bits.roll(512)):
        assert (bits == second).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_masks_below_the_frozen_layer_stay():
    """The masks of higher layers change."""
    expert, attached = attached_toy(method="routing", sparsity=0.3, freeze_below=1)
    before = {name: m.mask.clone() for name, m in attached.masks.items()}
    optimizer = torch.optim.SGD(attached.trained.values(), lr=10.0)
    (expert(WAVE)[..., :3] ** 2).sum().backward()
    optimizer.step()
    for name, masked in attached.masks.items():
        assert torch.equal(masked.mask, before[name]) == (".layers.0." in name), name


@pytest.mark.parametrize("dense", [False, True])
def test_co_training_lets_removed_weights_learn(dense):
    """With train_weights the gradient of W is dense, so a removed weight can change before it returns."""
    expert, attached = attached_toy(method="routing", sparsity=0.5, train_weights=dense)
    (expert(WAVE)[..., :3] ** 2).sum().backward()
    original = expert.model.encoder.layers[0].fc1.parametrizations.weight.original
    mask = attached.masks["model.encoder.layers.0.fc1.weight"].mask
    assert (original.grad is not None) == dense
    if dense:
        assert (original.grad[~mask] != 0).any()


@pytest.mark.parametrize("init", ["ori", "ori_sampled", "magnitude"])
@pytest.mark.parametrize("ranking", ["matrix", "global", "output_units"])
def test_first_mask_from_another_run(init, ranking):
    """The first mask keeps what ranks highest there; learning goes on from it, on the weights of this run."""
    conf = {"method": "routing", "sparsity": 0.25, "targets": "all", "init": init, "ranking": ranking, "initial_mask": "m"}
    expert, attached = attached_toy(**conf)
    generator = torch.Generator().manual_seed(5)
    ranked = {name: torch.randn(mask.shape, generator=generator) for name, mask in attached.kept().items()}
    before = {name: tensor.clone() for name, tensor in attached.weights().items()}
    attached.begin(saliency=ranked)
    if ranking == "output_units" and init == "magnitude":
        expected = {name: unit_mask(tensor, 0.25) for name, tensor in ranked.items()}
    elif ranking != "output_units":
        expected = {"global": global_masks, "matrix": each_topk}[ranking](ranked, 0.25)
    else:
        expected = attached.kept()  # ranks of entries, averaged over a unit, have an order of their own
    assert all(torch.equal(mask, expected[name]) for name, mask in attached.kept().items())
    optimizer = torch.optim.Adam(attached.trained.values(), lr=0.1)
    (expert(WAVE)[..., :3] ** 2).sum().backward()
    optimizer.step()
    assert any(not torch.equal(mask, expected[name]) for name, mask in attached.kept().items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in attached.weights().items())


def each_topk(ranked, sparsity):
    return {name: topk_mask(tensor, sparsity) for name, tensor in ranked.items()}


@pytest.mark.parametrize("ranking", ["output_units", "input_units"])
def test_one_score_for_each_unit_learns_as_in_the_authors_code(ranking):
    """Their layers have scores (outputs, 1) or (1, inputs). The gradient of one is the sum over its unit."""
    conf = {"method": "routing", "sparsity": 0.25, "ranking": ranking, "score_per": "unit", "targets": "*.fc1.weight"}
    expert, attached = attached_toy(**conf)
    dim = int(ranking == "input_units")
    for name, masked in attached.masks.items():
        weight = attached.weights()[name]
        assert masked.scores.shape == ((32, 1) if dim == 0 else (1, 16))
        order = weight.abs().mean(1 - dim).argsort()  # the first mask removes the units of the smallest weights
        units = masked.mask.movedim(dim, 0)
        assert torch.equal((~units.any(1)).nonzero().flatten().sort().values, order[: len(order) // 4].sort().values)
        bound = 1.0 if dim == 0 else 1 / 4  # kaiming_uniform of their shapes: 1 / sqrt(fan_in)
        assert 0.9 * bound < masked.scores.abs().max() < bound
    (expert(WAVE)[..., :3] ** 2).sum().backward()
    found = {name: masked.scores.grad.clone() for name, masked in attached.masks.items()}
    for name, masked in attached.masks.items():
        twin = toy_expert()
        for other, mask in attached.kept().items():
            twin.get_parameter(other).data.mul_(mask)
        twin.requires_grad_(True)
        (twin(WAVE)[..., :3] ** 2).sum().backward()
        product = twin.get_parameter(name).grad * attached.weights()[name]
        expected = product.sum(dim=1 - dim, keepdim=True) * masked.scores.sign()
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-6)


def test_a_frozen_upstream_stays_frozen():
    """``attach`` freezes it, even if its parameters required gradients before."""
    expert = ToyExpert().requires_grad_(True)
    attach(expert, {"method": "head_only"})
    assert not any(p.requires_grad for p in expert.parameters())
