"""routing and its controls: first masks, frozen layers and trained weights."""

import pytest
import torch
from toy_runs import WAVE, attached_toy
from toys import ToyExpert, toy_expert

from espnet_s3router.masks import topk_mask
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


def test_a_frozen_upstream_stays_frozen():
    """``attach`` freezes it, even if its parameters required gradients before."""
    expert = ToyExpert().requires_grad_(True)
    attach(expert, {"method": "head_only"})
    assert not any(p.requires_grad for p in expert.parameters())
