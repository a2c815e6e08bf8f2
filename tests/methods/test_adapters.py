"""lora and houlsby: initial identity, shapes, and an effect in attention."""

import math

import pytest
import torch
from toy_runs import WAVE, attached_toy
from toys import toy_expert

from espnet_s3router.methods.adapters.houlsby import Bottleneck


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
    assert (b == 0).all()
    with torch.no_grad():
        b.normal_()
        layer = expert.model.encoder.layers[0].fc1
        update = layer.weight - layer.parametrizations.weight.original
    torch.testing.assert_close(update, 3.0 * b.detach() @ a.detach(), atol=1e-5, rtol=1e-5)
    assert torch.linalg.matrix_rank(update) == 2


def test_lora_starts_from_kaiming_uniform():
    """U(-1, 1) / sqrt(inputs), as the paper's code: a variance of 1 / 3 of that bound squared."""
    _, attached = attached_toy(method="lora", rank=64, targets=["*.fc1.weight"])
    drawn = torch.cat([p.detach().flatten() for name, p in attached.trained.items() if name.endswith(".a")]) * math.sqrt(16)
    assert 0.99 < drawn.abs().max() <= 1.0
    assert drawn.std() == pytest.approx(1 / math.sqrt(3), rel=0.05) and drawn.mean() == pytest.approx(0.0, abs=0.05)


def test_an_adapter_is_the_papers_formula():
    """x + up(gelu(down(x))) with the exact GELU (arXiv 1902.00751 sec. 2.1). ``down`` has a variance of 1 / dim."""
    adapter = Bottleneck(400, 50, torch.Generator().manual_seed(0))
    x = torch.randn(3, 400, generator=torch.Generator().manual_seed(1))
    assert torch.equal(adapter(x), x)
    assert adapter.down.weight.detach().std() == pytest.approx(1 / 20, rel=0.03)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(2))
        hidden = x @ adapter.down.weight.t() + adapter.down.bias
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        expected = x + hidden @ adapter.up.weight.t() + adapter.up.bias
        torch.testing.assert_close(adapter(x), expected, atol=1e-5, rtol=1e-5)


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
