"""Extraction of masks on whole units: the smaller upstream gives the outputs of the masked one, on every family."""

import pytest
import torch
from structures import in_kind
from toys import HEADS, INNER, TOYS, counted_by_torch

from espnet_s3router.deploy.shrink import shrink
from espnet_s3router.errors import InputError
from espnet_s3router.methods import attach
from espnet_s3router.plugin.upstreams.build import load_upstream
from espnet_s3router.upstreams import family_of
from espnet_s3router.upstreams.count import macs
from espnet_s3router.upstreams.structure import structure_of
from tests.deploy.test_shrink import TOLERANCE, difference, states

UNITS = {"method": "routing", "ranking": "units", "targets": "all", "sparsity": 0.5}


def masked(source, mask_conf, *, seed=0):
    """Handle of an upstream with masks of random scores and with random biases, which removed rows leave behind."""
    upstream = load_upstream(source)
    attached = attach(upstream.upstream, mask_conf)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for mask in attached.masks.values():
            mask.scores.copy_(torch.randn(mask.scores.shape, generator=generator))
        for module in upstream.modules():
            if isinstance(getattr(module, "bias", None), torch.nn.Parameter):
                module.bias.add_(torch.randn(module.bias.shape, generator=generator) * 0.3)
    return attached


@pytest.mark.parametrize("kind", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", [name for name in TOYS if name != "conformer"])
def test_outputs_stay(name, kind, toy_upstreams):
    """Recordings of two lengths, with a sparsity of its own in the first layer or with a score for each row and column."""
    conf = UNITS | {"targets": "feed_forward" if name == "wavlm" else "all"}
    conf |= {"layer_sparsity": {0: 0.8}} if kind == torch.float64 else {"score_per": "unit"}
    attached = masked(toy_upstreams[name], conf)
    before, widths = states(in_kind(attached.upstream, kind)), attached.widths()
    smaller = shrink(attached)
    assert difference(before, states(smaller)) <= TOLERANCE[kind]
    assert structure_of(smaller, family_of(smaller)).widths == widths
    assert widths.inner == (round(0.2 * INNER) if kind == torch.float64 else INNER // 2, INNER // 2)
    assert widths.heads == (2 * (HEADS,) if name == "wavlm" else 2 * (HEADS // 2,))


@pytest.mark.parametrize("ranking", ["output_units", "input_units"])
@pytest.mark.parametrize("name", ["wav2vec2", "hf_hubert", "espnet_hubert", "hf_whisper"])
def test_rows_or_columns_alone(name, ranking, toy_upstreams):
    """Inner units without a row are constants, those without a column have no effect. Both are gone."""
    attached = masked(toy_upstreams[name], UNITS | {"ranking": ranking, "targets": "feed_forward"})
    before = states(in_kind(attached.upstream, torch.float64))
    assert attached.widths() is None
    smaller = shrink(attached)
    assert difference(before, states(smaller)) <= 1e-9
    assert structure_of(smaller, family_of(smaller)).widths.inner == (INNER // 2, INNER // 2)


@pytest.mark.parametrize("name", ["wav2vec2", "hf_hubert", "espnet_hubert", "hf_whisper"])
def test_heads_without_values(name, toy_upstreams):
    """Their output is the bias of the values, at every frame."""
    attached = masked(toy_upstreams[name], UNITS | {"ranking": "matrix", "targets": "attention", "sparsity": 0.0})
    values = [mask for path, mask in attached.masks.items() if "v_proj" in path]
    for mask in values:
        kept = torch.ones(mask.shape, dtype=torch.bool)
        kept[: mask.shape[0] // HEADS] = False
        mask.set_mask(kept)
    before = states(in_kind(attached.upstream, torch.float64))
    smaller = shrink(attached)
    assert len(values) == 2 and difference(before, states(smaller)) <= 1e-9
    assert structure_of(smaller, family_of(smaller)).widths.heads == (HEADS - 1, HEADS - 1)


def test_scattered_zeros_remove_nothing(toy_upstreams):
    attached = masked(toy_upstreams["hf_hubert"], UNITS | {"ranking": "matrix"})
    before = states(attached.upstream)
    smaller = shrink(attached)
    assert all(torch.equal(a, b) for a, b in zip(before, states(smaller)))
    assert structure_of(smaller, family_of(smaller)).widths.inner == (INNER, INNER)


def test_counts_of_the_smaller_model(toy_upstreams):
    attached = masked(toy_upstreams["hf_hubert"], UNITS)
    dense, widths = structure_of(attached.upstream, family_of(attached.upstream)), attached.widths()
    assert counted_by_torch(shrink(attached), 1.0) == sum(macs(dense, 1.0, widths).values())


@pytest.mark.parametrize(
    ("name", "conf", "message"),
    [
        ("wavlm", {}, "targets hold .*self_attn.*which has none that can be removed. Set targets: feed_forward"),
        ("hf_hubert", {"targets": "conv"}, "targets hold .*conv_layers.*which has none that can be removed"),
        ("hf_hubert", {"targets": ["*.intermediate_dense.weight"]}, "targets lack .*output_dense.weight"),
        ("conformer", {}, "layers of conformer upstreams hold more than attention"),
    ],
)
def test_units_that_cannot_be_removed(name, conf, message, toy_upstreams):
    """Refused when the method is attached, before training."""
    with pytest.raises(InputError, match=message):
        attach(load_upstream(toy_upstreams[name]).upstream, UNITS | conf)
