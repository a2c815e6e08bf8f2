"""What single methods promise beyond the matrix."""

import math

import pytest
import torch
from toys import ToyExpert, toy_expert

from espnet_s3router.masks import topk_mask
from espnet_s3router.methods import attach
from espnet_s3router.methods.flip_log import HEADER, FlipLog

WAVE = torch.randn(2, 320 * 7, generator=torch.Generator().manual_seed(9))


def attached_toy(**mask_conf):
    expert = toy_expert()
    return expert, attach(expert, mask_conf)


@pytest.mark.parametrize(
    "mask_conf",
    [
        {"method": "lora"},
        {"method": "lora", "targets": "all", "rank": 4},
        {"method": "lora", "targets": "conv"},
        {"method": "houlsby"},
        {"method": "bitfit"},
        {"method": "finetune"},
        {"method": "head_only"},
        {"method": "routing", "sparsity": 0.0, "targets": "all"},
    ],
    ids=str,
)
def test_starts_as_the_dense_model(mask_conf):
    """LoRA's update is zero at first, Houlsby's adapter the identity: training starts from the pretrained model."""
    expert, _ = attached_toy(**mask_conf)
    with torch.no_grad():
        assert torch.equal(expert(WAVE), toy_expert()(WAVE))


def test_lora_update_is_scaled_low_rank():
    expert, attached = attached_toy(method="lora", rank=2, alpha=6.0, targets=["*.fc1.weight"])
    name = "model.encoder.layers.0.fc1.parametrizations.weight.0."
    a, b = attached.trained[name + "a"], attached.trained[name + "b"]
    assert a.shape == (2, 16) and b.shape == (32, 2)
    assert (b == 0).all() and a.abs().max() <= 1 / math.sqrt(16)
    with torch.no_grad():
        b.normal_()
        layer = expert.model.encoder.layers[0].fc1
        update = layer.weight - layer.parametrizations.weight.original
    torch.testing.assert_close(update, 3.0 * b.detach() @ a.detach(), atol=1e-5, rtol=1e-5)
    assert torch.linalg.matrix_rank(update) == 2


@pytest.mark.parametrize("method", ["lora", "houlsby"])
def test_adapters_act_in_attention_too(method):
    """ESPnet's LoRA on q, k, v and out is silently inert in fairseq-style upstreams; ours must not be."""
    expert, attached = attached_toy(method=method)
    with torch.no_grad():
        before = expert(WAVE)
        for name, parameter in attached.trained.items():
            if not name.endswith((".b", "up.weight")):
                continue
            parameter.normal_()
            changed = expert(WAVE)
            assert not torch.equal(changed, before), name
            parameter.zero_()


def test_houlsby_adapts_both_blocks_of_every_layer():
    expert, attached = attached_toy(method="houlsby", bottleneck=4)
    hosts = {name.rsplit(".houlsby", 1)[0] for name in attached.trained}
    assert hosts == {f"model.encoder.layers.{layer}.{place}" for layer in range(3) for place in ("self_attn", "fc2")}
    assert attached.bytes_added() == 4 * 6 * (2 * 16 * 4 + 4 + 16)


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
    """Near the chance overlap with the magnitude masks, and different from site to site and from seed to seed."""
    _, first = attached_toy(method="random", sparsity=0.5)
    _, other = attached_toy(method="random", sparsity=0.5, seed=1)
    _, magnitude = attached_toy(method="magnitude", sparsity=0.5)
    bits, others, reference = (torch.cat([m.mask.flatten() for m in a.masks.values()]) for a in (first, other, magnitude))
    for second in (others, reference, bits.roll(512)):
        assert (bits == second).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_masks_below_the_frozen_layer_stay():
    """While those above change."""
    expert, attached = attached_toy(method="routing", sparsity=0.3, freeze_below=1)
    before = {name: m.mask.clone() for name, m in attached.masks.items()}
    optimizer = torch.optim.SGD(attached.trained.values(), lr=10.0)
    (expert(WAVE)[..., :3] ** 2).sum().backward()
    optimizer.step()
    for name, masked in attached.masks.items():
        assert torch.equal(masked.mask, before[name]) == (".layers.0." in name), name


@pytest.mark.parametrize("dense", [False, True])
def test_co_training_lets_removed_weights_learn(dense):
    """With train_weights the gradient into W is dense, so that a removed weight can come back changed."""
    expert, attached = attached_toy(method="routing", sparsity=0.5, train_weights=dense)
    (expert(WAVE)[..., :3] ** 2).sum().backward()
    original = expert.model.encoder.layers[0].fc1.parametrizations.weight.original
    mask = attached.masks["model.encoder.layers.0.fc1.weight"].mask
    assert (original.grad is not None) == dense
    if dense:
        assert (original.grad[~mask] != 0).any()


def test_a_frozen_upstream_stays_frozen():
    """Whatever had required gradients before: attach decides."""
    expert = ToyExpert().requires_grad_(True)
    attach(expert, {"method": "head_only"})
    assert not any(p.requires_grad for p in expert.parameters())


def test_flip_log():
    """Counts bits against the last call and against the start."""
    _, attached = attached_toy(method="routing", sparsity=0.25)
    log = FlipLog(attached.kept)
    log.start()
    name = "model.encoder.layers.0.fc1.weight"
    masked = attached.masks[name]
    start = masked.mask.clone()
    first = {row[1]: row for row in log.rows(1)}
    assert all(row[3] == row[4] == 0.0 for row in first.values())
    assert len(first) == len(attached.masks) + 1 and len(HEADER) == len(first["all"])
    masked.set_mask(~start)
    second = {row[1]: row for row in log.rows(2)}
    assert second[name] == (2, name, 0.75, 1.0, 1.0)
    assert second["all"][3] == pytest.approx(1 / 6) and second["all"][2] == pytest.approx((5 * 0.25 + 0.75) / 6)
    masked.set_mask(None)
    third = {row[1]: row for row in log.rows(3)}
    assert third[name] == (3, name, 0.25, 1.0, 0.0)
    assert third["all"][3:] == (pytest.approx(1 / 6), 0.0)


def test_flip_log_without_masks():
    _, attached = attached_toy(method="finetune")
    log = FlipLog(attached.kept)
    log.start()
    assert log.rows(1) == []
