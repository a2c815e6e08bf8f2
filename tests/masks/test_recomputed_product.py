"""Not keeping masked weights must change memory and nothing else."""

import gc
import sys

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from espnet_s3router.masks import MaskedTensor, Site, TopK, inject
from espnet_s3router.masks.recomputed_product import recomputed_products

inject_module = sys.modules["espnet_s3router.masks.inject"]


def masked_model(train_weights=False):
    """Two linear layers and a convolution, all masked."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(4, 6, 3, padding=1), nn.GELU(), nn.Linear(10, 16), nn.GELU(), nn.Linear(16, 8))
    model.requires_grad_(train_weights)
    for index in (0, 2, 4):
        module = model[index]
        masked = MaskedTensor(torch.randn_like(module.weight), TopK(0.3), dense_gradient=train_weights)
        inject(Site(name=f"{index}.weight", module=module, tensor="weight"), masked)
    return model


def gradients(model, x):
    model.zero_grad()
    model(x).square().sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("train_weights", [False, True])
def test_gradients_are_the_same_bits(train_weights):
    model, x = masked_model(train_weights), torch.randn(2, 4, 10)
    expected = gradients(model, x)
    for _ in range(3):
        model.zero_grad()
        with recomputed_products():
            loss = model(x).square().sum()
        loss.backward()
        found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_masked_weights_are_gone_after_the_forward_pass(monkeypatch):
    """What ``StraightThrough`` returned dies with the forward pass, and lives on without the block."""
    made = []
    plain = inject_module.register_product
    monkeypatch.setattr(inject_module, "register_product", lambda p, w, f: made.append(storage_of(p)) or plain(p, w, f))
    model, x = masked_model(), torch.randn(2, 4, 10)
    with recomputed_products():
        out = model(x)
    assert [storage.expired() for storage in made] == [True, True, True]
    made.clear()
    kept = model(x)
    assert [storage.expired() for storage in made] == [False, False, False]
    assert out.requires_grad and kept.requires_grad


def storage_of(tensor):
    """Weak reference to the memory of a tensor, which outlives the Python object."""
    return StorageWeakRef(tensor.untyped_storage())


def test_a_mask_that_changes_before_the_backward_pass_does_not_matter():
    """The gradient belongs to the mask of the forward pass."""
    model, x = masked_model(), torch.randn(2, 4, 10)
    expected = gradients(model, x)
    model.zero_grad()
    with recomputed_products():
        loss = model(x).square().sum()
    for module in model.modules():
        if isinstance(module, MaskedTensor):
            module.set_mask(torch.zeros_like(module.mask))
    loss.backward()
    assert all(torch.equal(p.grad, expected[n]) for n, p in model.named_parameters() if p.grad is not None)


def test_nothing_is_leaked():
    """Hooks that return their argument could tie a graph to itself."""

    def count():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    model, x = masked_model(), torch.randn(2, 4, 10)
    counts = []
    for _ in range(4):
        with recomputed_products():
            model(x)  # no backward: what is saved must go with the output
        counts.append(count())
    assert counts[1] == counts[-1]


def test_other_hooks_on_saved_tensors_win():
    packed = []
    model, x = masked_model(), torch.randn(2, 4, 10)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t) or t, lambda t: t), recomputed_products():
        model(x)
    assert packed
