"""Units that are removed at once: by magnitude (omp_units) against its definition, and at random (uniform)."""

import numpy as np
import pytest
import torch
from structures import base_structure, share_removed
from toys import toy_expert

from espnet_s3router.errors import InputError
from espnet_s3router.methods import attach
from espnet_s3router.methods.structured.cost import constraints_of, kept_units
from espnet_s3router.methods.structured.fixed import even_share
from espnet_s3router.methods.structured.place import places_of, widths_of
from espnet_s3router.upstreams import family_of

OMP = {"method": "omp_units", "sparsity": 0.4, "seconds": 0.5, "start": "x"}
UNIFORM = {"method": "uniform", "sparsity": 0.4, "seconds": 0.5}
WAVE = torch.randn(2, 320 * 7, generator=torch.Generator().manual_seed(9))


def dense(expert, seed=3):
    """Tensors of a finetuned model: the weights of each output differ in their size."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: p.detach() * torch.rand(p.shape[:1] + (1,) * (p.dim() - 1), generator=generator)
        for name, p in expert.named_parameters()
    }


def pruned(conf, seed=3):
    """Handle of a method that has begun from ``dense``, and the tensors that it began with."""
    expert = toy_expert()
    tensors = dense(expert, seed)
    attached = attach(expert, conf)
    attached.begin({name: tensors[name] for name in attached.startable})
    return attached, {name: tensor.double().numpy() for name, tensor in tensors.items()}


def mean_square(*matrices):
    """(1 / |w|) sum of w^2 over the weights of each unit (arXiv 1611.06440 sec. 2.2); each matrix is (units, …)."""
    return np.array([np.mean([w**2 for m in matrices for w in m[unit].flatten()]) for unit in range(len(matrices[0]))])


def criteria(tensors, heads=2):
    """The criterion of every unit, by group, written anew with the names of the toy."""
    found = {}
    convolution = tensors["model.feature_extractor.conv_layers.0.0.weight"]
    found["conv.0"] = mean_square(convolution, tensors["model.post_extract_proj.weight"].T)
    for layer in range(3):
        part = {n.split(".", 4)[4]: t for n, t in tensors.items() if n.startswith(f"model.encoder.layers.{layer}.")}
        rows = [part[f"self_attn.{name}_proj.weight"] for name in "qkv"]
        blocks = [m.reshape(heads, -1) for m in (*rows, part["self_attn.out_proj.weight"].T)]
        found[f"attention.{layer}"] = mean_square(*blocks)
        found[f"feed_forward.{layer}"] = mean_square(part["fc1.weight"], part["fc2.weight"].T)
    return found


def test_inner_units_go_in_the_order_of_their_norms():
    """One unit after the other, the smallest criterion first, until the target is met."""
    attached, tensors = pruned({**OMP, "sparsity": 0.15, "units": ["feed_forward"]})
    found = {name: values for name, values in criteria(tensors).items() if name.startswith("feed")}
    order = sorted((value, name, unit) for name, values in found.items() for unit, value in enumerate(values))
    kept = {name: np.ones(len(values), bool) for name, values in found.items()}
    (constraint,), removed = attached.constraints, 0
    while float(constraint.sparsity(torch.tensor([mask.sum() for mask in kept.values()]))) < 0.15:
        _, name, unit = order[removed]
        kept[name][unit], removed = False, removed + 1
    assert removed > 3
    for name, mask in attached.open_units().items():
        assert mask.tolist() == kept[name].tolist()


@pytest.mark.parametrize("ranking", ["global", "group"])
def test_units_that_go_have_smaller_norms(ranking):
    """Within a group, and with the global ranking over all heads and over all other units."""
    units = ["attention", "feed_forward"] + ["conv"] * (ranking == "group")
    attached, tensors = pruned({**OMP, "ranking": ranking, "sparsity": 0.3, "units": units})
    kept = attached.open_units()
    found = {name: values for name, values in criteria(tensors).items() if name in kept}
    assert set(found) == set(kept)
    whole = {name: [name] for name in found}
    if ranking == "global":
        heads = [name for name in found if name.startswith("attention")]
        whole = {"heads": heads, "others": [name for name in found if name not in heads]}
    for names in whole.values():
        values, mask = (np.concatenate([np.asarray(table[name]) for name in names]) for table in (found, kept))
        assert mask.any() and (mask.all() or values[mask].min() > values[~mask].max())
    assert attached.reached() == pytest.approx([0.3], abs=0.02)  # a channel of the toy costs 2 %


def test_closed_units_have_no_effect_and_do_not_learn():
    attached, _ = pruned(OMP)
    expert = attached.upstream
    before = expert(WAVE)
    before.square().sum().backward()
    closed = [~mask for name, mask in attached.open_units().items() if name.startswith("feed_forward")]
    assert sum(int(mask.sum()) for mask in closed) > 0
    with torch.no_grad():
        for layer, mask in zip(expert.model.encoder.layers, closed):
            assert not layer.fc1.weight.grad[mask].any() and layer.fc1.weight.grad[~mask].any()
            layer.fc1.weight[mask] = 7.0
            layer.fc2.parametrizations.weight.original[:, mask] = -5.0
        assert torch.equal(expert(WAVE), before)


@pytest.mark.parametrize("rewind", [False, True])
def test_rewinding(rewind):
    """The choice is that of the dense model; then its weights stay, or the pretrained ones are back."""
    attached, tensors = pruned({**OMP, "rewind": rewind})
    pretrained = dict(toy_expert().named_parameters())
    for name, parameter in attached.startable.items():
        expected = pretrained[name].detach() if rewind else torch.from_numpy(tensors[name]).float()
        assert torch.allclose(parameter.detach(), expected), name
    other, _ = pruned({**OMP, "rewind": not rewind})
    assert all(torch.equal(mask, other.open_units()[name]) for name, mask in attached.open_units().items())


def test_a_draw_looks_at_no_weight():
    masks = [pruned({**UNIFORM, "seed": seed}, of)[0].open_units() for seed, of in ((0, 3), (0, 4), (1, 3))]
    same, other = ([torch.equal(masks[0][name], mask) for name, mask in masks[index].items()] for index in (1, 2))
    assert all(same) and not all(other)


@pytest.mark.parametrize("variant", ["size", "macs"])
@pytest.mark.parametrize("sparsity", [0.1, 0.4, 0.7])
def test_the_shape_is_uniform_at_base_dimensions(variant, sparsity):
    """Every group keeps the same share, to the nearest unit, and the target is met within 0.1 %."""
    structure = base_structure()
    places = places_of(structure, family_of(toy_expert()))
    constraints = constraints_of(structure, places, variant, sparsity, None, 10.0)
    counts = kept_units(places, even_share, constraints)
    assert share_removed(structure, widths_of(structure, counts), constraints[0].name) == pytest.approx(sparsity, abs=1e-3)
    for kind, size in (("conv", 512), ("attention", 12), ("feed_forward", 3072)):
        kept = [count for name, count in counts.items() if name.startswith(kind)]
        assert max(kept) - min(kept) <= 1
        assert abs(kept[0] / size - counts["feed_forward.0"] / 3072) < 1 / 12  # heads are rounded, the others make up for it


def test_top_layers_are_dropped():
    """As the toy without the blocks of its last layer; the draw from the others meets the target."""
    attached, tensors = pruned({**UNIFORM, "sparsity": 0.5, "layers": 2})
    widths = attached.widths()
    assert widths.attention_blocks == widths.feed_forward_blocks == (1, 1, 0)
    assert widths.heads[2] == widths.inner[2] == 0 and all(0 < size < 32 for size in widths.inner[:2])
    assert attached.reached() == pytest.approx([0.5], abs=0.02)
    expert = attached.upstream
    seen = []
    for layer in expert.model.encoder.layers:
        layer.register_forward_hook(lambda module, args, out: seen.append((args[0], out)))
    expert(WAVE)
    (before, after), last = seen[2], expert.model.encoder.layers[2]
    assert torch.allclose(after, last.final_layer_norm(last.self_attn_layer_norm(before)), atol=1e-6)


def test_bad_options():
    with pytest.raises(InputError, match="start is None, expected a model file"):
        attach(toy_expert(), OMP | {"start": None})
    with pytest.raises(InputError, match="ranking is 'matrix', expected one of global, group"):
        attach(toy_expert(), OMP | {"ranking": "matrix"})
    with pytest.raises(InputError, match="sparsity 0.99 of macs cannot be reached"):
        attach(toy_expert(), UNIFORM | {"sparsity": 0.99, "units": ["feed_forward"]})
    with pytest.raises(InputError, match="layers is 3, expected a whole number from 1 to 2"):
        attach(toy_expert(), UNIFORM | {"layers": 3})
    with pytest.raises(InputError, match=r"layers 1 removes 0\.\d+ of macs already, more than sparsity 0.1"):
        attach(toy_expert(), UNIFORM | {"layers": 1, "sparsity": 0.1})
    with pytest.raises(InputError, match="expected attention and feed_forward in it with layers"):
        attach(toy_expert(), UNIFORM | {"layers": 1, "units": ["conv", "attention"]})
