"""Options of the frontend: what they do, and what is refused before an upstream is loaded."""

import copy

import pytest
import torch
from toys import DIM, speech

from espnet_s3router.errors import InputError
from espnet_s3router.masks import topk_mask

BATCH = speech(8000, 5000, seed=1)
ROUTING = {"method": "routing", "sparsity": 0.1}


def build(source, **options):
    from espnet_s3router.plugin.frontend import MaskedUpstream

    return MaskedUpstream(frontend_conf=source, **{"mask_conf": ROUTING, **options})


@pytest.mark.parametrize("fs", ["16k", 16000, "16000"])
def test_fs_may_be_a_string(fs, toy_upstreams):
    """Hazard 12: ``--frontend_conf fs=16k`` arrives as a string."""
    assert build(toy_upstreams["hf_hubert"], fs=fs).output_size() == DIM


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fs": "8k"}, "fs is 8k.*16 kHz"),
        ({"fs": 8000}, "fs is 8000"),
        ({"mask_conf": {"method": "rooting"}}, "expected one of"),
        ({"mask_conf": {**ROUTING, "targets": "*.fc9.weight"}}, "matches no maskable tensor"),
        ({"dropout": "on"}, "dropout is 'on', expected one of off, upstream"),
        ({"autocast": "float16"}, "expected bfloat16"),
        ({"layerdrop": 1.0}, r"layerdrop is 1.0, expected a probability in \[0, 1\)"),
        ({"layer": 7}, "layer is 7, the upstream has 3"),
        ({"layer": 1, "multilayer_feature": True}, "exclude each other"),
        ({"latent_masking": {"prob": 0.1}}, "latent_masking: key 'prob' is not an option; allowed: time_prob"),
        ({"latent_masking": {"time_prob": 1.5}}, r"time_prob is 1.5, expected a share in \[0, 1\]"),
        ({"latent_masking": {"channel_length": 0}}, "whole number from 1"),
        ({"latent_masking": {"time_prob": "0.1"}}, "time_prob is '0.1', expected a number"),
        ({"latent_masking": 0.1}, "latent_masking is 0.1, expected keys and values; allowed: time_prob"),
        ({"upstream_dropouts": {"input": 0.1}}, "dropout is 'off', so upstream_dropouts would do nothing"),
        ({"dropout": "upstream", "upstream_dropouts": {"final": 0.1}}, "upstream_dropouts: key 'final' is not an option"),
        ({"dropout": "upstream", "upstream_dropouts": {"input": 1.0}}, r"input is 1.0, expected a probability in \[0, 1\)"),
        ({"dropout": "upstream", "upstream_dropouts": {"input": "0.1"}}, "input is '0.1', expected a number"),
        ({"mask_conf": "routing"}, "mask_conf is 'routing', expected keys and values, such as {method: routing"),
        ({"mask_config": ROUTING}, "key 'mask_config' is unknown, .* Did you mean mask_conf"),
        ({"upstream": "hubert"}, "key 'upstream' is unknown, .* upstream belongs into the frontend_conf within it"),
        ({"layer": "3"}, "layer is '3', expected a whole number"),
        ({"layerdrop": "0.1"}, "layerdrop is '0.1', expected a number"),
        ({"cache_frozen": "400"}, "cache_frozen is '400', expected a whole number"),
        ({"multilayer_feature": "yes"}, "multilayer_feature is 'yes', expected true or false"),
        ({"fs": "sixteen"}, "fs is 'sixteen', expected 16000 or 16k"),
        ({"cache_frozen": 1, "mask_conf": {"method": "finetune", "train_cnn": True}}, "needs a frozen convolutional"),
        ({"cache_frozen": 1, "mask_conf": {**ROUTING, "targets": "conv"}}, "needs a frozen convolutional"),
    ],
    ids=str,
)
def test_bad_options(options, message, toy_upstreams):
    with pytest.raises(InputError, match=message):
        build(toy_upstreams["hf_hubert"], **options)


def test_routing_is_the_default(toy_upstreams):
    """``frontend: masked_upstream`` alone does what the package is for."""
    model = build(toy_upstreams["hf_hubert"], mask_conf=None)
    assert model.attached.method == "routing" and model.attached.config["sparsity"] == 0.08


def test_cache_of_torchaudio_style_is_refused(toy_upstreams):
    with pytest.raises(InputError, match="torchaudio-style"):
        build(toy_upstreams["espnet_hubert"], cache_frozen=1)


@pytest.mark.parametrize("multilayer", [False, True])
def test_featurizer_trains_only_if_it_is_used(multilayer, toy_upstreams):
    """Hazard 9: unused weights stall DDP."""
    model = build(toy_upstreams["hubert"], multilayer_feature=multilayer).train()
    assert model.featurizer.weights.requires_grad == multilayer
    model(BATCH.waves, BATCH.lengths)[0].square().sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert (model.featurizer.weights.grad is not None) == multilayer


def test_chosen_layer_and_tiling(toy_upstreams):
    """ESPnet's options act as in ESPnet."""
    from espnet2.asr.frontend.s3prl import S3prlFrontend

    source = {**toy_upstreams["hf_hubert"], "tile_factor": 1, "normalize": True}
    head_only = {"method": "head_only"}
    for options in ({"layer": 1}, {"multilayer_feature": True}, {}):
        ours = build(source, mask_conf=head_only, **options).eval()
        plain = S3prlFrontend(frontend_conf=source, **options).eval().requires_grad_(False)
        with torch.no_grad():
            expected, lengths = plain(BATCH.waves, BATCH.lengths)
            found, our_lengths = ours(BATCH.waves, BATCH.lengths)
        assert torch.equal(found, expected) and torch.equal(lengths, our_lengths)
        assert ours.output_size() == plain.output_size()


@pytest.mark.parametrize("init", ["xavier_uniform", "kaiming_normal"])
@pytest.mark.parametrize("family", ["wav2vec2", "hf_hubert", "espnet_hubert"])
def test_init_restores_upstream_and_scores(init, family, asr_model):
    """Hazard 5: ESPnet's ``init`` overwrites every parameter, scores and upstream too. Only the head may differ."""
    from espnet2.torch_utils.initialize import initialize

    model, _ = asr_model(family=family)
    frontend, before = model.frontend.eval(), copy.deepcopy(dict(model.frontend.upstream.state_dict()))
    with torch.no_grad():
        feats = frontend(BATCH.waves, BATCH.lengths)[0]
    head = model.ctc.ctc_lo.weight.clone()
    initialize(model, init)
    assert not torch.equal(model.ctc.ctc_lo.weight, head)
    after = frontend.upstream.state_dict()
    assert set(after) == set(before) and all(torch.equal(after[key], before[key]) for key in before)
    with torch.no_grad():
        assert torch.equal(frontend(BATCH.waves, BATCH.lengths)[0], feats)
    for masked in frontend.attached.masks.values():
        assert torch.equal(masked.mask, topk_mask(masked.scores, 0.2))


def test_init_through_the_configuration(asr_model):
    """As a user has it in a YAML file."""
    plain, _ = asr_model()
    initialised, _ = asr_model(init="xavier_uniform")
    before, after = plain.frontend.upstream.state_dict(), initialised.frontend.upstream.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("native", [True, False])
def test_autocast_depends_on_the_device_in_use(native, frontend, monkeypatch, right_bfloat16):
    """An unused GPU does not make the processor compute in bfloat16."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    feats, _ = frontend("hf_hubert", autocast="auto").train()(BATCH.waves, BATCH.lengths)
    exact, _ = frontend("hf_hubert").train()(BATCH.waves, BATCH.lengths)
    assert torch.equal(feats, exact) is not native
