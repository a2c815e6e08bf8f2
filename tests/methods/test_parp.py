"""PARP in both forms: removed weights may grow back."""

import pytest
import torch
from toy_runs import PARP, Run
from toys import toy_expert

from espnet_s3router.masks import topk_mask, zero_count


@pytest.mark.parametrize("case", PARP)
def test_removed_weights_may_grow_back(case):
    """In PARP only; test_in_place_pruning.py shows the opposite for the other methods."""
    run, seen = Run(PARP[case]), []
    for number in range(1, 5):
        run.epoch(number)
        seen.append(run.attached.kept())
    first, last = seen[0], seen[-1]
    assert any((last[name] & ~first[name]).any() for name in first)


def test_hard_thresholding_has_no_mask_between_two_prunings():
    """Removed weights act at once. The next pruning keeps the largest weights."""
    run = Run(PARP["parp"])
    zeros = zero_count(run.numel(), 0.4)
    run.attached.begin_epoch(1)
    assert run.zeros() == zeros
    for update in range(1, 10):
        before = torch.cat([p.detach().flatten() for p in run.attached.sites.values()])
        run.update()
        after = torch.cat([p.detach().flatten() for p in run.attached.sites.values()])
        assert (run.zeros() == zeros) == (update % 3 == 0)
        if update % 3:  # every weight has moved that has a gradient: about as many removed ones as others
            moved = (after != before)[before == 0].float().mean()
            assert update % 3 == 2 or moved > 0.8


def test_remasking_computes_with_the_mask_and_lets_hidden_weights_move():
    """The forward pass is sparse after every update. The hidden value of a removed weight moves from zero by steps of Adam,
    and the next pruning ranks it."""
    run = Run(PARP["parp, remask"])
    attached = run.attached
    attached.begin_epoch(1)
    mask = attached.kept()
    for _ in range(2):
        run.update()
        assert all(torch.equal(now, mask[name]) for name, now in attached.kept().items())
    full = {name: p.detach() + attached._hidden[name] for name, p in attached.sites.items()}
    for name, parameter in attached.sites.items():
        assert not (attached._hidden[name][mask[name]]).any() and not parameter[~mask[name]].any()
    moved = torch.cat([full[name][~mask[name]].abs() for name in full])
    assert 0.02 < moved.max() <= 2 * 0.02 * 1.01 and (moved > 0).float().mean() > 0.8  # two steps of Adam at 0.02
    run.update()  # prunes
    grown = {name: now & ~mask[name] for name, now in attached.kept().items()}
    assert any(bits.any() for bits in grown.values())
    assert not any(hidden.any() for hidden in attached._hidden.values())


def test_interval_in_epochs():
    """Prunes after every second epoch."""
    run = Run(PARP["parp, epochs"])
    zeros = zero_count(run.numel(), 0.4)
    at_start = []
    for number in range(1, 6):
        run.attached.begin_epoch(number)
        at_start.append(run.zeros() == zeros)
        run.update()
        run.update()
        assert run.zeros() < zeros
        run.attached.end_epoch()
    assert at_start == [True, False, True, False, True]


def test_first_mask_from_another_run():
    """The mask ranks the scores or weights of that run; the values are those of this run."""
    generator = torch.Generator().manual_seed(5)
    names = list(Run(PARP["parp"]).attached.sites)
    weights = toy_expert().state_dict()
    ranked = {name: torch.randn(weights[name].shape, generator=generator) for name in names}
    run = Run({**PARP["parp"], "ranking": "matrix"}, ranked=ranked)
    for name in names:
        assert torch.equal(run.attached.sites[name], weights[name] * topk_mask(ranked[name], 0.4))
