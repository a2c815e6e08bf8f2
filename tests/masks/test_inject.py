"""Masks on tensors: on, off, baked, switched; selected once per change of the scores."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from espnet_s3router.masks import (
    NM,
    GlobalRanking,
    MaskedTensor,
    Site,
    TopK,
    Units,
    bake,
    find_sites,
    init_scores,
    inject,
    masked_tensors,
    ranking,
    topk_mask,
)
from espnet_s3router.masks.ranking import SignedTopK


class Net(nn.Module):
    """A linear layer, a convolution and a bare parameter."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 10)
        self.conv = nn.Conv1d(10, 4, 3, padding=1)
        self.bare = nn.Parameter(torch.randn(4, 5))

    def forward(self, x):  # (batch, time, 6)
        hidden = self.conv(self.linear(x).transpose(1, 2))  # (batch, 4, time)
        return hidden.transpose(1, 2) @ self.bare


NAMES = ["linear.weight", "conv.weight", "bare"]


def masked_net(selector=lambda: TopK(0.3), seed=0, train=False):
    """(net, its masks by name) with every maskable tensor masked."""
    torch.manual_seed(seed)
    net = Net().requires_grad_(train)
    generator = torch.Generator().manual_seed(seed)
    for site in find_sites(net, ["*"]):
        scores = init_scores(getattr(site.module, site.tensor), "ori", generator=generator)
        inject(site, MaskedTensor(scores, selector()))
    return net, masked_tensors(net)


def output(net, x):
    """Of evaluation: torch multiplies transposed tensors by another kernel if a gradient is needed."""
    with torch.no_grad():
        return net(x)


@pytest.fixture
def x():
    return torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(5))


def test_sites_of_every_kind():
    """Linear, convolution and bare parameter; biases have one dimension and are no sites."""
    net, masks = masked_net()
    assert sorted(masks) == sorted(NAMES)
    assert set(net.state_dict()) >= {
        "linear.parametrizations.weight.original",
        "linear.parametrizations.weight.0.scores",
        "parametrizations.bare.0.scores",
    }


def test_the_mask_acts(x):
    """Each tensor of the masked net is W * M, and the output is that of the products."""
    net, masks = masked_net()
    plain = Net().requires_grad_(False)
    with torch.no_grad():
        for name in NAMES:
            owner, _, tensor = name.rpartition(".")
            module = net.get_submodule(owner)
            product = module.parametrizations[tensor].original * masks[name].mask
            assert torch.equal(getattr(module, tensor), product)
            getattr(plain.get_submodule(owner), tensor).copy_(product)
        plain.linear.bias.copy_(net.linear.bias)
        plain.conv.bias.copy_(net.conv.bias)
        assert torch.equal(net(x), plain(x))
    assert all(int((~m.mask).sum()) == round(0.3 * m.mask.numel()) for m in masks.values())


@pytest.mark.parametrize("selector", [lambda: TopK(0.3), lambda: Units(0.5, 0), lambda: Units(0.4, 1)])
def test_bake_is_equal_bit_for_bit(x, selector):
    net, masks = masked_net(selector)
    masked, zeros = output(net, x), {name: int((~m.mask).sum()) for name, m in masks.items()}
    bake(net)
    assert torch.equal(output(net, x), masked)
    assert not masked_tensors(net) and "linear.weight" in dict(net.named_parameters())
    for name in NAMES:
        assert int((net.get_parameter(name) == 0).sum()) == zeros[name]


def test_set_mask_and_back(x):
    """Masks of ones give the dense model, a mask of zeros nothing; None returns a tensor to its scores."""
    torch.manual_seed(0)
    dense = output(Net().requires_grad_(False), x)
    net, masks = masked_net(seed=0)
    plain = output(net, x)
    for masked in masks.values():
        masked.set_mask(torch.ones_like(masked.mask))
    assert torch.equal(output(net, x), dense) and not torch.equal(dense, plain)
    masks["linear.weight"].set_mask(torch.zeros(10, 6))
    assert torch.equal(net.linear.weight, torch.zeros(10, 6))
    for masked in masks.values():
        masked.set_mask(None)
    assert torch.equal(output(net, x), plain)
    with torch.no_grad():
        masks["linear.weight"].scores.mul_(-1).add_(0.05)
    assert torch.equal(masks["linear.weight"].mask, topk_mask(masks["linear.weight"].scores, 0.3))


def test_set_mask_refuses_another_shape(x):
    net, masks = masked_net()
    before = output(net, x)
    with pytest.raises(ValueError, match=r"shape \(2,\), expected \(4, 5\)"):
        masks["bare"].set_mask(torch.zeros(2))
    assert torch.equal(output(net, x), before)


@pytest.mark.parametrize("optimizer", ["adam", "adam foreach", "adam fused", "sgd"])
def test_selected_once_per_update(x, optimizer):
    """Never in evaluation, nor under gradient accumulation, nor again in the next forward; but after every real update,
    whichever implementation of the optimiser writes the parameters."""
    net, masks = masked_net()
    scores = [m.scores for m in masks.values()]
    opt = {
        "adam": lambda: torch.optim.Adam(scores, lr=0.01, foreach=False),
        "adam foreach": lambda: torch.optim.Adam(scores, lr=0.01, foreach=True),
        "adam fused": lambda: torch.optim.Adam(scores, lr=0.01, fused=True),
        "sgd": lambda: torch.optim.SGD(scores, lr=0.1),
    }[optimizer]()
    for step in range(1, 4):
        for _ in range(2):  # two micro-batches
            net(x).square().sum().backward()
        net.eval()
        with torch.no_grad():
            net(x)
        net.train()
        assert [m.selections for m in masks.values()] == [step] * 3
        opt.step()
        if optimizer == "adam fused":  # its kernel does not raise the version counters
            for masked in masks.values():
                masked.touch()
        opt.zero_grad()
        assert all(torch.equal(m.mask, topk_mask(m.scores, 0.3)) for m in masks.values())
    assert [m.selections for m in masks.values()] == [4] * 3


def test_not_selected_again_under_recomputation(x):
    net, masks = masked_net()
    checkpoint(net, x.requires_grad_(), use_reentrant=False).sum().backward()
    assert [m.selections for m in masks.values()] == [1] * 3
    assert all(m.scores.grad is not None for m in masks.values())


def test_loading_scores_selects_anew():
    net, masks = masked_net()
    first = masks["bare"].mask.clone()
    state = net.state_dict()
    state["parametrizations.bare.0.scores"] = 1.0 / state["parametrizations.bare.0.scores"]
    net.load_state_dict(state)
    assert not torch.equal(masks["bare"].mask, first)


def test_mask_of_inference_mode_serves_training(x):
    """ESPnet's validation runs before training resumes: a mask made in inference mode must not break autograd."""
    net, masks = masked_net()
    with torch.inference_mode():
        net(x)
    net(x).sum().backward()
    assert masks["bare"].scores.grad is not None


@pytest.mark.parametrize("kind", [TopK, SignedTopK, GlobalRanking, lambda sparsity: Units(sparsity, 0)])
def test_changed_sparsity_selects_anew(kind):
    masked = MaskedTensor(torch.randn(10, 2, generator=torch.Generator().manual_seed(0)), kind(0.3))
    assert int((~masked.mask).sum()) == 6
    masked.selector.sparsity = 0.6
    assert int((~masked.mask).sum()) == 12


def test_gradients_of_trained_weights_are_masked_unless_dense():
    for options, dense in (({}, False), ({"dense_gradient": True}, True)):
        layer = nn.Linear(6, 10)
        masked = MaskedTensor(init_scores(layer.weight, "ori"), TopK(0.5), **options)
        inject(Site(name="weight", module=layer, tensor="weight"), masked)
        layer(torch.ones(1, 6)).sum().backward()
        gradient = layer.parametrizations.weight.original.grad
        assert torch.equal(gradient, torch.ones(10, 6) if dense else masked.mask.float())


@pytest.mark.parametrize("dim", [0, 1])
def test_a_score_for_each_unit(dim):
    """The mask has the shape of the weight; whole units of the smallest scores are removed."""
    layer = nn.Linear(6, 10)
    scores = torch.tensor([0.5, -0.1, 0.4, -0.9, 0.2, 0.3])[:, None]
    scores = torch.cat([scores, torch.full((4, 1), 1.0)]) if dim == 0 else scores.t()
    masked = MaskedTensor(scores, Units(0.2 if dim == 0 else 1 / 3, dim), shape=layer.weight.shape)
    dense = layer.weight.detach().clone()
    inject(Site(name="weight", module=layer, tensor="weight"), masked)
    assert masked.mask.shape == (10, 6) and masked.mask.is_contiguous()
    units = masked.mask if dim == 0 else masked.mask.t()
    assert (~units.any(1)).nonzero().flatten().tolist() == [1, 4]
    assert torch.equal(layer.weight, dense * masked.mask)
    layer(torch.ones(1, 6)).sum().backward()
    assert masked.scores.grad.shape == scores.shape
    with pytest.raises(ValueError, match="expected .10, 6."):
        masked.set_mask(torch.ones(scores.shape))


def test_global_ranking_selects_once_for_all(x, monkeypatch):
    calls = []
    plain = ranking.fast_global_masks
    monkeypatch.setattr(ranking, "fast_global_masks", lambda *a: calls.append(1) or plain(*a))
    shared = GlobalRanking(0.3)
    net, masks = masked_net(lambda: shared)
    net(x)
    net(x)
    assert len(calls) == 1
    assert sum(int((~m.mask).sum()) for m in masks.values()) == round(0.3 * sum(m.mask.numel() for m in masks.values()))
    with torch.no_grad():
        masks["bare"].scores.mul_(100)  # its connections win over those of the others
    net(x)
    assert len(calls) == 2 and masks["bare"].mask.all()
    assert [m.selections for m in masks.values()] == [2, 2, 2]


def test_n_of_m_selector(x):
    torch.manual_seed(0)
    net = nn.Linear(8, 3)
    inject(Site(name="weight", module=net, tensor="weight"), MaskedTensor(init_scores(net.weight, "ori"), NM(2, 4)))
    assert (masked_tensors(net)["weight"].mask.view(-1, 4).sum(1) == 2).all()


def test_refused():
    net, _ = masked_net()
    site = Site(name="linear.weight", module=net.linear, tensor="weight")
    with pytest.raises(ValueError, match="parametrized already"):
        inject(site, MaskedTensor(torch.ones(10, 6), TopK(0.1)))
    plain = nn.Linear(3, 2)
    with pytest.raises(ValueError, match=r"shape \(3, 2\), the tensor \(2, 3\)"):
        inject(Site(name="weight", module=plain, tensor="weight"), MaskedTensor(torch.ones(3, 2), TopK(0.1)))


def test_pattern_without_a_hit_lists_near_names():
    with pytest.raises(ValueError, match=r"'linar\.weight'.*linear\.weight"):
        find_sites(Net(), ["linar.weight"])


def test_sites_are_labelled():
    """Groups and layers decide which sparsity a site gets."""
    sites = find_sites(Net(), ["*.weight"], groups={"feed_forward": ["linear.*"]}, layer_of={"linear.weight": 3})
    assert [(s.name, s.group, s.layer) for s in sites] == [
        ("linear.weight", "feed_forward", 3),
        ("conv.weight", "other", None),
    ]


def test_non_contiguous_scores_are_made_contiguous():
    masked = MaskedTensor(torch.randn(6, 4).t(), TopK(0.25))
    assert masked.scores.is_contiguous()
    assert int((~masked.mask).sum()) == 6
