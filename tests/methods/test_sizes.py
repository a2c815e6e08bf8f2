"""Several sizes from one run of hj: one order of units, an exact target for each size, and extraction at each."""

import pytest
import torch
from structures import share_removed
from toys import toy_expert

from espnet_s3router.deploy.shrink import shrink
from espnet_s3router.errors import InputError
from espnet_s3router.methods import attach
from espnet_s3router.methods.structured import hard_concrete
from espnet_s3router.methods.structured.nested import shift_for
from espnet_s3router.upstreams import family_of
from espnet_s3router.upstreams.structure import structure_of

SIZES = {"method": "hj", "sparsity": 0.5, "sizes": [0.2, 0.35], "ramp_until": 2}
WAVE = torch.randn(2, 320 * 7, generator=torch.Generator().manual_seed(9))


def spread(**changes):
    """(toy upstream, handle) with log alphas that differ, in evaluation."""
    expert = toy_expert()
    attached = attach(expert, SIZES | changes)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in attached.gates.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    attached.end_epoch()
    return expert, attached


@pytest.mark.parametrize("target", [0.05, 0.35, 0.6])
def test_the_shift_meets_its_target(target):
    """The expected cost, summed group by group from the definition of open probabilities."""
    _, attached = spread()
    shift = shift_for(attached.gates, attached.constraints[0], target)
    opened = [hard_concrete.open_probability(p.detach().double() - shift).sum() for p in attached.gates.parameters()]
    assert float(attached.constraints[0].sparsity(torch.stack(opened))) == pytest.approx(target, abs=1e-4)


@pytest.mark.parametrize("changes", [{}, {"gates": "binary"}, {"blocks": True}], ids=str)
def test_smaller_models_lie_in_larger_ones(changes):
    _, attached = spread(**changes)
    opened = []
    for sparsity in attached.sizes:
        attached.choose(sparsity)
        removed = share_removed(attached.structure, attached.widths(), "macs")
        assert removed == pytest.approx(attached.reached()[0]) == pytest.approx(sparsity, abs=0.02)
        opened.append(torch.cat(list(attached.open_units().values())))
    assert attached.sizes == (0.2, 0.35, 0.5)
    for larger, smaller in zip(opened, opened[1:]):
        assert (larger | ~smaller).all() and smaller.sum() < larger.sum()


def test_every_size_trains():
    """Each update has one size, the same in all its forward passes. Its target rises with the ramp."""
    expert, attached = spread()
    attached.begin_epoch(1)
    drawn = []
    for update in range(30):
        attached.update = update
        shifts = []
        for _ in range(2):
            expert(WAVE)
            shifts.append(attached.gates.shift)
        assert shifts[0] == shifts[1]
        drawn.append(round(float(attached.penalty()[1]["sparsity_macs"]), 3))
    assert set(drawn[2:]) == {0.2, 0.35, 0.5}
    assert drawn[0] == 0.0 and drawn[1] in (0.1, 0.175, 0.25)
    assert attached.penalty()[0] is None


def test_values_of_evaluation_are_those_of_the_size():
    """Open gates have the value of their log alpha after the shift, also after a checkpoint was loaded."""
    expert, attached = spread()
    name, gate = next(iter(attached.gates.groups.items()))
    other_expert, other = attach_again(expert)
    for sparsity in attached.sizes:
        attached.choose(sparsity)
        shift = shift_for(attached.gates, attached.constraints[0], sparsity)
        expected = hard_concrete.evaluated(gate.log_alpha - shift) * attached.open_units()[name]
        assert torch.allclose(gate(), expected, atol=1e-6)
    attached.end_epoch()
    assert attached.size == 0.5  # the last choice holds
    with torch.no_grad():
        assert torch.equal(expert(WAVE), other_expert(WAVE)) and other.size == 0.5


def attach_again(expert):
    """A fresh upstream with the checkpoint of another, as decoding builds it."""
    fresh = toy_expert(1)
    attached = attach(fresh, SIZES)
    fresh.load_state_dict(expert.state_dict())
    return fresh, attached


@pytest.mark.parametrize("sparsity", [0.2, 0.35, 0.5])
@torch.no_grad()
def test_extraction_of_each(sparsity):
    expert, attached = spread()
    attached.choose(sparsity)
    expert.double()
    before, widths = expert(WAVE.double()), attached.widths()
    smaller = shrink(attached)
    assert (smaller(WAVE.double()) - before).abs().max() <= 1e-9 * before.abs().max()
    assert structure_of(smaller, family_of(smaller)).widths == widths != attached.structure.widths


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": [0.5]}, "sizes is .0.5,., expected shares to remove in .0, 1. that differ"),
        ({"sizes": [0.2, 1.0]}, "expected shares to remove in"),
        ({"sizes": 0.2}, "expected shares to remove in"),
        ({"sizes": [0.2], "variant": "sep_macs"}, "variant is 'sep_macs', expected size or macs with sizes"),
        ({"sizes": [0.999]}, "sparsity 0.999 of macs cannot be reached"),
    ],
)
def test_bad_input(changes, message):
    with pytest.raises(InputError, match=message):
        attach(toy_expert(), SIZES | changes)


def test_a_size_that_was_not_trained():
    with pytest.raises(InputError, match=r"the sparsity is 0.4, expected one that the run was trained for: 0.2, 0.35, 0.5"):
        spread()[1].choose(0.4)
