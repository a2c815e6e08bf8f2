"""Gates on whole attention and feed-forward blocks (option ``blocks`` of hj)."""

import numpy as np
import pytest
import torch
from structures import base_structure, share_removed
from toys import toy_expert

from espnet_s3router.errors import InputError
from espnet_s3router.methods import attach
from espnet_s3router.methods.structured.cost import constraints_of, kept_units
from espnet_s3router.methods.structured.gates import Gate
from espnet_s3router.methods.structured.place import places_of, widths_of
from espnet_s3router.upstreams import family_of

HJ = {"method": "hj", "sparsity": 0.3, "updates": 30, "blocks": True}
WAVE = torch.randn(2, 320 * 7, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("variant", ["size", "macs"])
def test_expected_sparsity_is_the_mean_over_drawn_models(variant):
    """Units of a closed block cost nothing, and its bias goes too. Log alphas of blocks have gradients."""
    attached = attach(toy_expert(), {**HJ, "variant": variant, "closed": 0.4})
    torch.manual_seed(0)
    drawn = []
    for _ in range(300):
        attached.gates.draw()
        sizes = {name: int((gate().detach() > 0).sum()) for name, gate in attached.gates.groups.items()}
        drawn.append(share_removed(attached.structure, widths_of(attached.structure, sizes), attached.constraints[0].name))
    expected = attached.expected_sparsity()
    assert float(expected.detach()) == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 300**0.5)
    expected.backward()
    blocks = [gate for name, gate in attached.gates.groups.items() if "block" in name]
    assert len(blocks) == 6 and all(float(gate.log_alpha.grad) < 0 for gate in blocks)


def test_a_closed_block_costs_nothing():
    """By hand: four matrices and four biases of attention, two matrices and two biases of a feed-forward block."""
    structure = base_structure()
    for name, size in (("attention_block.3", 4 * 768**2 + 4 * 768), ("feed_forward_block.7", 2 * 768 * 3072 + 3072 + 768)):
        gone = share_removed(structure, widths_of(structure, {name: 0}), "parameters")
        assert gone * structure.parameters == pytest.approx(size)


@pytest.mark.parametrize("variant", ["size", "macs", "sep_macs"])
@pytest.mark.parametrize("sparsity", [0.2, 0.6])
def test_the_target_is_met_at_base_dimensions(variant, sparsity):
    structure = base_structure()
    generator = torch.Generator().manual_seed(1)
    places = places_of(structure, family_of(toy_expert()), blocks=True)
    gates = {place.name: Gate(2 * torch.randn(place.size, generator=generator), "hard_concrete") for place in places}
    constraints = constraints_of(structure, places, variant, sparsity, None, 10.0)
    counts = kept_units(places, lambda place, shift: gates[place.name].expected(shift), constraints)
    blocks = [count for name, count in counts.items() if "block" in name]
    assert len(blocks) == 24 and set(blocks) == {0, 1}
    for constraint in constraints:
        reached = float(constraint.sparsity(torch.tensor(list(counts.values()))))
        assert reached == pytest.approx(share_removed(structure, widths_of(structure, counts), constraint.name))
        assert reached == pytest.approx(sparsity, abs=1e-3)


def test_a_closed_block_adds_nothing():
    """As a model whose forward pass sets the output of the block to zero. The layer norm behind it stays."""
    experts = [toy_expert(), toy_expert()]
    with torch.no_grad():
        for layer in (layer for expert in experts for layer in expert.model.encoder.layers):
            layer.fc2.bias.add_(0.5)
        attached = attach(experts[0], HJ)
        for name, gate in attached.gates.groups.items():
            gate.log_alpha.fill_(-50.0 if name == "feed_forward_block.1" else 50.0)
        sizes = {name: len(gate.log_alpha) for name, gate in attached.gates.groups.items()}
        attached.gates.counts = lambda: sizes | {"feed_forward_block.1": 0}
        experts[1].model.encoder.layers[1].fc2.register_forward_hook(lambda module, args, out: out * 0.0)
        assert torch.allclose(experts[0](WAVE), experts[1](WAVE), atol=1e-6)
    masks = attached.open_units()
    assert not masks["feed_forward_block.1"].any() and not masks["feed_forward.1"].any() and masks["feed_forward.0"].all()
    assert attached.widths().feed_forward_blocks == (1, 0, 1) and attached.widths().inner[1] == 0


def test_only_blocks_of_the_units():
    attached = attach(toy_expert(), {**HJ, "units": ["conv", "feed_forward"], "sparsity": 0.05})
    assert {name.split(".")[0] for name in attached.gates.groups} == {"conv", "feed_forward", "feed_forward_block"}
    with pytest.raises(InputError, match="units is .*conv.*, expected attention or feed_forward in it with blocks: true"):
        attach(toy_expert(), {**HJ, "units": ["conv"]})
