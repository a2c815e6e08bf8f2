"""lora and houlsby: initial identity, shapes, and an effect in attention."""

import math

import pytest
import torch
from toy_runs import WAVE, attached_toy
from toys import toy_expert


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
    """Training starts from the pretrained model: LoRA's first update is zero, Houlsby's first adapter the identity."""
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
    """ESPnet's LoRA on q, k, v and out has no effect in fairseq-style upstreams; ours must have one."""
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
