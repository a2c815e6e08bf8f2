"""Pruning in place: exact counts, and zeros that stay zero."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import prune
from toy_runs import GRADUAL, ONCE, PARP, Run, loss_of
from toys import toy_expert

from espnet_s3router.masks import zero_count
from espnet_s3router.methods.pruning.in_place import hold


@pytest.mark.parametrize("case", GRADUAL)
@pytest.mark.parametrize("ranking", ["global", "matrix"])
def test_exact_counts_while_the_sparsity_rises(case, ranking):
    run = Run({**GRADUAL[case], "ranking": ranking})
    schedule = run.attached.schedule
    reached = schedule.at(0)
    run.attached.begin_epoch(1)
    for update in range(1, 15):
        run.update()
        reached = schedule.at(update) if schedule.due(update) else reached
        sizes = [mask.numel() for mask in run.attached.kept().values()]
        expected = [sum(sizes)] if ranking == "global" else sizes
        assert run.zeros() == sum(zero_count(size, reached) for size in expected), update
    assert reached == 0.6


@settings(max_examples=15)
@given(
    sparsity=st.floats(0, 0.99),
    method=st.sampled_from(["mpi", "rp", "omp", "parp", "imp"]),
    ranking=st.sampled_from(["global", "matrix"]),
    biases=st.booleans(),
    rounding=st.sampled_from(["nearest", "reference"]),
)
def test_any_sparsity_is_exact(sparsity, method, ranking, biases, rounding):
    more = {"omp": {"start": "x"}, "imp": {"start": "x", "rounds": 2, "updates": 4}}.get(method, {})
    conf = {"method": method, "sparsity": sparsity, "ranking": ranking, "biases": biases, "rounding": rounding, **more}
    run = Run(conf)
    run.epoch(1)
    kept = run.attached.kept()
    assert sum(name.endswith(".bias") for name in kept) == (18 if biases else 0)
    sizes = [mask.numel() for mask in kept.values()]
    counted = [sum(sizes)] if ranking == "global" else sizes
    assert run.zeros() == sum(zero_count(size, sparsity, rounding) for size in counted)


@pytest.mark.parametrize("case", ONCE | GRADUAL)
@pytest.mark.parametrize(
    "optimizer",
    [
        (torch.optim.SGD, {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.1}),
        (torch.optim.AdamW, {"lr": 0.1, "betas": (0.9, 0.98), "weight_decay": 0.1}),
        (torch.optim.Adam, {"lr": 0.1, "fused": True}),
    ],
    ids=["sgd", "adamw", "fused"],
)
def test_removed_weights_stay_zero(case, optimizer):
    """Neither momentum nor weight decay nor a later gradient moves them. The other weights move."""
    run = Run((ONCE | GRADUAL)[case], optimizer)
    run.attached.begin_epoch(1)
    before = run.attached.kept()
    for _ in range(15):
        weights = run.weights()
        run.update()
        after = run.attached.kept()
        assert not any((after[name] & ~before[name]).any() for name in before)
        assert any(not torch.equal(run.weights()[name], weights[name]) for name in before)
        before = after


@pytest.mark.parametrize("case", ONCE)
def test_clipping_is_that_of_torch_prune(case):
    """20 updates under a norm of 1. There a removed weight has no gradient, so it takes no part in the norm."""
    run = Run(ONCE[case], clip=1.0)
    run.attached.begin_epoch(1)
    masks = run.attached.kept()
    twin = toy_expert().requires_grad_(False)
    trained = {name: twin.get_parameter(name).requires_grad_() for name in run.attached.trained}
    for name, parameter in trained.items():
        parameter.data.copy_(run.attached.trained[name])
    modules = {name: twin.get_submodule(name.rpartition(".")[0]) for name in masks}
    for name, mask in masks.items():
        prune.custom_from_mask(modules[name], "weight", mask)
    optimizer = torch.optim.Adam(trained.values(), lr=0.02)
    for update in range(20):
        optimizer.zero_grad()
        for module in modules.values():  # attention reads the tensor, so its own hook would not act
            module.weight = module.weight_orig * module.weight_mask
        loss_of(twin, update).backward()
        expected = float(torch.nn.utils.clip_grad_norm_(trained.values(), 1.0))
        optimizer.step()
        assert run.update() == pytest.approx(expected, rel=1e-5) and expected > 1.0
    for name, parameter in run.attached.trained.items():
        mask = masks.get(name, torch.ones_like(parameter, dtype=torch.bool))
        torch.testing.assert_close(parameter, trained[name] * mask, atol=1e-6, rtol=0)
        state = run.optimizer.state[parameter]
        assert not state["exp_avg"][~mask].any() and not state["exp_avg_sq"][~mask].any()


@pytest.mark.parametrize("case", ["imp", "mpi, linear"])
def test_gradients_of_removed_weights_are_zero_after_each_pruning(case):
    run = Run(GRADUAL[case])
    run.attached.begin_epoch(1)
    for _ in range(14):
        masks = run.attached.kept()
        run.update()
        for name, parameter in run.attached.sites.items():
            assert not parameter.grad[~masks[name]].any() and parameter.grad[masks[name]].any()


@pytest.mark.parametrize("case", PARP)
def test_removed_weights_of_parp_have_gradients(case):
    run = Run(PARP[case])
    run.attached.begin_epoch(1)
    masks = run.attached.kept()
    loss_of(run.expert, 0).backward()
    for name, parameter in run.attached.sites.items():
        assert masks[name].all() or parameter.grad[~masks[name]].any()


def test_a_kept_weight_is_never_zero():
    """It becomes the smallest normal number, because a zero counts as removed."""
    weight = torch.tensor([0.0, -0.0, 1.0, 2.0, 3.0])
    hold(weight, torch.tensor([True, True, True, False, True]))
    tiny = torch.finfo(torch.float32).tiny
    assert weight.tolist() == [tiny, tiny, 1.0, 0.0, 3.0]
    run = Run(ONCE["mpi"])
    run.attached.begin_epoch(1)
    site = next(iter(run.attached.sites.values()))
    kept = int((site != 0).nonzero()[0][0])
    with torch.no_grad():
        site[kept].mul_(0.0)
    before = run.zeros()
    run.attached.end_epoch()
    assert before > run.zeros() == zero_count(run.numel(), 0.4)


def test_weights_that_are_not_finite_are_refused():
    run = Run(PARP["parp"])
    with torch.no_grad():
        next(iter(run.attached.sites.values()))[0, 0] = float("nan")
    with pytest.raises(ValueError, match="not finite.*Lower the learning rate"):
        run.attached.end_epoch()


@pytest.mark.parametrize("method", ["mpi", "rp", "parp"])
@pytest.mark.parametrize("pattern", [(2, 4), (4, 8), (1, 4)])
def test_patterns(method, pattern):
    """Every row keeps N of every M neighbouring inputs."""
    keep, group = pattern
    run = Run({"method": method, "sparsity": 1 - keep / group, "ranking": f"{keep}:{group}"})
    run.epoch(1)
    for mask in run.attached.kept().values():
        assert (mask.view(-1, group).sum(1) == keep).all()
