"""The learning rate of a run of several rounds."""

import pytest
import torch
from espnet2.schedulers.tristage_lr import TristageLR

from espnet_s3router.errors import InputError
from espnet_s3router.methods.schedule import Rounds
from espnet_s3router.plugin.training.schedulers import TristageRounds, check_rounds

CONF = {"warmup_ratio": 0.2, "hold_ratio": 0.4, "decay_ratio": 0.4}


def rates(scheduler, steps, **conf):
    """The rate of each update."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = scheduler(optimizer, **CONF, **conf)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_each_round_has_the_whole_schedule():
    once = rates(TristageLR, 10, max_steps=10)
    assert len(set(once)) > 5
    assert rates(TristageRounds, 30, max_steps=30, rounds=3) == once * 3
    assert rates(TristageRounds, 10, max_steps=10) == once


def test_rounds_begin_where_the_method_prunes():
    """32 updates in 3 rounds: after 10 and 21."""
    found = rates(TristageRounds, 32, max_steps=32, rounds=3)
    lowest = found[0]
    assert [step for step in range(1, 32) if found[step] == lowest] == [10, 21]


@pytest.mark.parametrize(
    "prunes", [Rounds(target=0.5, rounds=2, updates=30), Rounds(target=0.5, rounds=3, updates=60), None]
)
def test_rounds_of_another_method(prunes):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    ours = [TristageRounds(optimizer, max_steps=30, rounds=3, **CONF), None]
    check_rounds(ours, Rounds(target=0.5, rounds=3, updates=30))
    with pytest.raises(InputError, match=r"starts again after \(10, 20\) updates, but the method prunes after"):
        check_rounds(ours, prunes)


@pytest.mark.parametrize("rounds", [0, 11])
def test_rounds_that_cannot_be(rounds):
    with pytest.raises(InputError, match=f"rounds is {rounds}, expected 1 to max_steps, which is 10"):
        rates(TristageRounds, 1, max_steps=10, rounds=rounds)
