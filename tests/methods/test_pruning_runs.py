"""Runs of every pruning method: files of each epoch, averages and resumed runs."""

import copy

import pytest
import torch
from toy_runs import ALL, GRADUAL, ONCE, PARP, ROUTED, Run

from espnet_s3router.masks import zero_count


@pytest.mark.parametrize("case", ALL)
def test_every_epoch_is_saved_at_the_final_sparsity(case):
    """Also while the sparsity still rises, so that any epoch may be the best on the validation set."""
    run = Run(ALL[case])
    for number in range(1, 5):
        run.epoch(number)
        if case in ROUTED:
            expected = sum(zero_count(m.numel(), 0.6) for m in run.attached.kept().values())
        else:
            expected = zero_count(run.numel(), ALL[case]["sparsity"])
        assert run.zeros() == expected


@pytest.mark.parametrize("case", ALL)
@pytest.mark.parametrize("done", [1, 2, 3])
def test_resumed_run_equals_an_uninterrupted_one(case, done):
    """A new process resumes from the model file, the state of the optimiser and that of the method."""
    whole = Run(ALL[case])
    for number in range(1, done + 1):
        whole.epoch(number)
    model = {name: p.detach().clone() for name, p in (whole.attached.trained | whole.attached.saved).items()}
    optimizer, state = copy.deepcopy((whole.optimizer.state_dict(), whole.attached.training_state()))
    resumed = Run(ALL[case])
    with torch.no_grad():
        for name, parameter in (resumed.attached.trained | resumed.attached.saved).items():
            parameter.copy_(model[name])
    resumed.optimizer.load_state_dict(optimizer)
    resumed.attached.update = whole.attached.update
    resumed.attached.load_training_state(state)
    for number in range(done + 1, 5):
        whole.epoch(number)
        resumed.epoch(number)
    assert all(torch.equal(p, resumed.weights()[name]) for name, p in whole.weights().items())
    assert whole.attached.training_state().keys() == resumed.attached.training_state().keys()


@pytest.mark.parametrize("case", ALL)
def test_method_state_is_floats(case):
    """So it loads with weights_only=True."""
    run = Run(ALL[case])
    run.epoch(1)
    assert all(t.dtype == torch.float32 for t in run.attached.training_state().values())


@pytest.mark.parametrize("case", ONCE | GRADUAL | PARP)
def test_average_is_exactly_sparse(case):
    """Models with different masks (PARP, or a rising sparsity) share fewer zeros than each has."""
    run, models = Run(ALL[case]), []
    for number in (1, 2, 3, 4):
        run.epoch(number)
        models.append({name: p.detach().clone() for name, p in run.attached.trained.items()})
    average = {name: sum(model[name] for model in models) / 4 for name in models[0]}
    zeros = sum(int((average[name] == 0).sum()) for name in run.attached.sites)
    expected = zero_count(run.numel(), ALL[case]["sparsity"])
    assert (zeros < expected) == (case not in ONCE and not case.startswith("rp"))
    plain = dict(average)
    run.attached.finish_average(average)
    assert sum(int((average[name] == 0).sum()) for name in run.attached.sites) == expected
    others = [name for name in average if name not in run.attached.sites]
    assert others and all(torch.equal(average[name], plain[name]) for name in others)
