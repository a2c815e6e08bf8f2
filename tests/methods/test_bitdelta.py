"""bitdelta: signs and scales as the papers define them, and nothing else that learns."""

import numpy as np
import pytest
import torch
from toy_runs import WAVE, attached_toy
from toys import toy_expert

from espnet_s3router.methods.adapters.bitdelta import SignDelta, best_scales, pack, unpack

CONF = {"method": "bitdelta", "start": "x"}
FC1 = "model.encoder.layers.0.fc1.weight"


def started(**conf):
    """(upstream, handle, finetuned tensors, base) after ``begin``."""
    expert, attached = attached_toy(**CONF, **conf)
    generator = torch.Generator().manual_seed(3)
    base = {name: p.detach().clone() for name, p in attached.startable.items()}
    start = {name: p + 0.02 * torch.randn(p.shape, generator=generator) for name, p in base.items()}
    attached.begin(start)
    return expert, attached, start, base


def weight(expert, name):
    owner, _, tensor = name.rpartition(".")
    return getattr(expert.get_submodule(owner), tensor).detach()


def test_the_papers_formula():
    """W + alpha * Sign(D) with alpha = mean |D| (arXiv 2402.10193 eq. 1 to 3)."""
    expert, attached, start, base = started()
    assert len(attached.deltas) == 18
    for name in attached.deltas:
        delta = (start[name] - base[name]).numpy()
        expected = base[name].numpy() + np.abs(delta).mean() * np.where(delta > 0, 1.0, -1.0)
        np.testing.assert_allclose(weight(expert, name).numpy(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("scales", "axis"), [("row", 1), ("column", 0)])
def test_scales_of_rows_and_columns(scales, axis):
    """v * B + W with v the mean of |D| over the other axis (arXiv 2512.19720 sec. 3)."""
    expert, attached, start, base = started(scales=scales)
    for name in attached.deltas:
        delta = (start[name] - base[name]).numpy()
        v = np.abs(delta).mean(axis=axis, keepdims=True)
        np.testing.assert_allclose(
            weight(expert, name).numpy(), base[name].numpy() + v * np.sign(delta), rtol=1e-5, atol=1e-7
        )
        (parameter,) = attached.deltas[name].scale_names()
        assert attached.deltas[name].get_parameter(parameter).shape == v.shape


def test_the_product_of_both_is_the_best_of_rank_one():
    """The leading pair of singular vectors of |D| (Eckart and Young 1936), in balanced factors."""
    size = torch.randn(12, 20, generator=torch.Generator().manual_seed(0)).abs() * torch.arange(1, 21)
    found = best_scales(size, "both")
    u, s, v = torch.linalg.svd(size)
    torch.testing.assert_close(found["rows"] * found["columns"], s[0] * u[:, :1] @ v[:1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["rows"].mean(), found["columns"].mean())


@pytest.mark.parametrize("scales", ["matrix", "row", "column", "both"])
def test_scales_have_the_least_squared_error(scales):
    """Autograd finds no direction that lowers it."""
    delta = torch.randn(10, 15, generator=torch.Generator().manual_seed(1))
    module = SignDelta(delta.shape, scales)
    module.fit(delta)
    ((module(torch.zeros(10, 15)) - delta) ** 2).sum().backward()
    for name in module.scale_names():
        assert module.get_parameter(name).grad.abs().max() < 1e-3
    assert module.signs.grad is None or not module.signs.requires_grad


def test_more_scales_have_less_error():
    errors = {}
    for scales in ("matrix", "row", "column", "both"):
        expert, attached, start, _ = started(scales=scales)
        errors[scales] = sum(float(((weight(expert, name) - start[name]) ** 2).sum()) for name in attached.deltas)
    assert errors["both"] < min(errors["row"], errors["column"]) < max(errors["row"], errors["column"]) < errors["matrix"]


def test_gradients_of_the_scales():
    """Those of plain arithmetic with the same signs."""
    torch.manual_seed(0)
    delta, weight, grad = torch.randn(6, 9), torch.randn(6, 9), torch.randn(6, 9)
    module = SignDelta(delta.shape, "both")
    module.fit(delta)
    (module(weight) * grad).sum().backward()
    rows, columns = (module.get_parameter(n).detach().clone().requires_grad_() for n in ("rows", "columns"))
    ((weight + rows * columns * torch.where(delta > 0, 1.0, -1.0)) * grad).sum().backward()
    torch.testing.assert_close(module.get_parameter("rows").grad, rows.grad)
    torch.testing.assert_close(module.get_parameter("columns").grad, columns.grad)


@pytest.mark.parametrize("shape", [(3, 5), (8, 8), (1, 1), (4, 3, 5)])
def test_signs_as_bytes(shape):
    """Those of NumPy's packbits, and back."""
    bits = torch.randn(shape, generator=torch.Generator().manual_seed(2)) > 0
    packed = pack(bits)
    assert packed.tolist() == np.packbits(bits.numpy()).tolist()
    assert torch.equal(unpack(packed, bits.shape), bits.to(torch.int8) * 2 - 1)


@pytest.mark.parametrize("rest", ["start", "vectors", "base"])
def test_other_finetuned_tensors(rest):
    expert, attached, start, base = started(rest=rest)
    others = [name for name in start if name not in attached.deltas]
    parameters = dict(expert.named_parameters())
    for name in others:
        kept = rest == "start" or rest == "vectors" and start[name].dim() == 1
        assert torch.equal(parameters[name], (start if kept else base)[name]), name
        assert (name in attached.saved) == kept and not parameters[name].requires_grad
    assert {n for n in attached.saved if n.endswith(".signs")} == set(attached.packed)


def test_signs_follow_a_checkpoint():
    """They are unpacked again when another model is loaded."""
    expert, attached, *_ = started()
    twin, fresh = attached_toy(**CONF)
    with torch.no_grad():
        assert torch.equal(twin(WAVE), toy_expert()(WAVE))  # all scales are zero
        for name, parameter in {**fresh.trained, **fresh.saved}.items():
            parameter.copy_({**attached.trained, **attached.saved}[name])
        assert torch.equal(twin(WAVE), expert(WAVE))


def test_bytes_added():
    """One bit for each weight of the targets, and four bytes for each scale."""
    _, attached, *_ = started(rest="base", targets=["*.fc1.weight"], scales="row")
    assert attached.bytes_added() == 3 * (16 * 32 // 8 + 4 * 32)
