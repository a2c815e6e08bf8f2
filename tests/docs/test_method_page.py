"""docs/method.md: the code runs, and its results equal those of the package bit for bit."""

import copy
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from espnet_s3router.masks import MaskedTensor, TopK, bake, find_sites, init_scores, inject, masked_tensors, topk_mask
from espnet_s3router.masks.straight_through import StraightThrough
from espnet_s3router.methods.base import Attached

PAGE = Path(__file__).parents[2] / "docs/method.md"
SPARSITY = 0.08


@pytest.fixture(scope="module")
def page():
    """Names that the page defines, after all blocks ran; ``untrained_head`` is the head before the training loop."""
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        if "torch.optim" in block:
            names["untrained_head"] = copy.deepcopy(names["head"])
        exec(compile(block, str(PAGE), "exec"), names)
    return names


def generator(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (64, 16)])
def test_initial_scores(page, shape):
    weight = torch.randn(shape, generator=generator(1)).round(decimals=1)  # with ties
    assert torch.equal(page["initial_scores"](weight, generator(2)), init_scores(weight, "ori", generator=generator(2)))


@pytest.mark.parametrize("sparsity", [0.0, 0.08, 0.5, 0.9])
def test_mask(page, sparsity):
    for scores in (torch.randn(9, 5, generator=generator(3)), torch.ones(4, 4)):
        assert torch.equal(page["topk_mask"](scores, sparsity), topk_mask(scores, sparsity))


def test_product_and_gradient(page):
    weight, scores, grad = (torch.randn(6, 5, generator=generator(seed)) for seed in (4, 5, 6))
    mask = topk_mask(scores, 0.3)
    results = []
    for apply, options in ((page["StraightThrough"].apply, ()), (StraightThrough.apply, (False,))):
        trained = scores.clone().requires_grad_()
        product = apply(weight, trained, mask, *options)
        product.backward(grad)
        results.append((product.detach(), trained.grad))
    assert all(torch.equal(ours, package) for ours, package in zip(*results))


def test_training(page):
    """The loop of the page with the masks of the package: the same losses, scores, output, and bytes."""
    model, head = copy.deepcopy(page["pretrained"]).requires_grad_(False), page["untrained_head"]
    draws = generator(0)
    for site in find_sites(model, ["*.weight"]):
        inject(site, MaskedTensor(init_scores(site.module.weight, "ori", generator=draws), TopK(SPARSITY)))
    masked = masked_tensors(model)
    scores = {name: tensor.scores for name, tensor in masked.items()}
    adam = torch.optim.Adam([*scores.values(), *head.parameters()], lr=1e-3, betas=(0.9, 0.98))
    losses = []
    for _ in page["losses"]:
        log_probs = head(model(page["speech"])).log_softmax(dim=-1).transpose(0, 1)
        loss = functional.ctc_loss(log_probs, page["text"], page["speech_lengths"], page["text_lengths"])
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses == page["losses"]
    for ours, theirs, mask in zip(masked.values(), page["masked"], page["masks"]):
        assert torch.equal(ours.scores, theirs.scores) and torch.equal(ours.mask, mask)
    assert Attached(upstream=model, trained=scores).bytes_added() == page["mask_bytes"]
    bake(model)
    with torch.no_grad():
        assert isinstance(model, nn.Sequential) and torch.equal(model(page["speech"]), page["baked"](page["speech"]))
