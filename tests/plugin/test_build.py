"""What a frontend is built from, and what is refused before any training."""

import inspect
import shutil

import pytest
import torch
from toys import DIM, hf_hubert, speech

from espnet_s3router.errors import InputError

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
        ({"latent_masking": {"prob": 0.1}}, "'prob' is unknown, expected time_prob"),
        ({"latent_masking": {"time_prob": 1.5}}, r"time_prob is 1.5, expected a share in \[0, 1\]"),
        ({"latent_masking": {"channel_length": 0}}, "whole number from 1"),
        ({"latent_masking": {"time_prob": "0.1"}}, "time_prob is '0.1', expected a number"),
        ({"latent_masking": 0.1}, "latent_masking is 0.1, expected some of time_prob"),
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


def test_unknown_upstream():
    with pytest.raises(InputError, match="'hubret_custom', which s3prl does not know; near: .*hubert_custom"):
        build({"upstream": "hubret_custom", "path_or_url": "x"})


@pytest.mark.parametrize("name", ["wav2vec2_custom", "hf_hubert_custom", "wavlm_local", "espnet_hubert_custom"])
def test_missing_file(name, tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        build({"upstream": name, "path_or_url": str(tmp_path / "nothing.pt")})


def test_options_one_level_too_deep(toy_upstreams):
    """Nobody would read them: the masks would be those of the default."""
    source = toy_upstreams["hf_hubert"]
    with pytest.raises(InputError, match="holds 'mask_conf', expected some of upstream, .* one level up"):
        build({**source, "mask_conf": ROUTING})
    with pytest.raises(InputError, match="path_or_url is '/nowhere', and s3router_hubert_mini comes with this package"):
        build({"upstream": "s3router_hubert_mini", "path_or_url": "/nowhere"})
    with pytest.raises(InputError, match="within it is 'hubert', expected at least"):
        build("hubert")


def test_a_folder_that_reads_like_a_name_on_the_hub():
    with pytest.raises(InputError, match="There is no folder downloads/mine in .* either, so it was looked for on the hub"):
        build({"upstream": "hf_hubert_custom", "path_or_url": "downloads/mine"})


def test_upstream_without_a_transformer_that_is_known():
    with pytest.raises(InputError, match="no known upstream family"):
        build({"upstream": "fbank"})


def test_missing_path():
    with pytest.raises(InputError, match="needs path_or_url"):
        build({"upstream": "wav2vec2_custom"})


@pytest.mark.parametrize("content", ["text", "tensors", "empty"])
@pytest.mark.parametrize(
    "name", ["wav2vec2_custom", "hubert_custom", "data2vec_custom", "wavlm_local", "espnet_hubert_custom"]
)
def test_file_that_is_no_upstream(name, content, tmp_path, toy_upstreams):
    path = tmp_path / "file.pt"
    if content == "tensors":
        torch.save({"weight": torch.ones(2)}, path)
    else:
        path.write_text("hello" if content == "text" else "")
    if name == "espnet_hubert_custom":
        from pathlib import Path

        shutil.copy(Path(toy_upstreams["espnet_hubert"]["path_or_url"]).parent / "config.yaml", tmp_path)
    with pytest.raises(InputError, match="could not be loaded|lacks .* weights of the upstream"):
        build({"upstream": name, "path_or_url": str(path)})


def test_espnet_hubert_finds_its_configuration_beside_the_checkpoint(toy_upstreams, tmp_path):
    """s3prl's entry drops the keyword that would name it; without the file the error says what is missing."""
    shutil.copy(toy_upstreams["espnet_hubert"]["path_or_url"], tmp_path / "model.pth")
    with pytest.raises(InputError, match=r"config\.yaml"):
        build({"upstream": "espnet_hubert_custom", "path_or_url": str(tmp_path / "model.pth")})


def test_weights_of_another_shape(toy_upstreams, tmp_path):
    source = dict(toy_upstreams["wav2vec2"])
    state = torch.load(source["path_or_url"])
    state["model_cfg"]["encoder_ffn_embed_dim"] = 48
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(InputError, match="size mismatch"):
        build({**source, "path_or_url": str(tmp_path / "other.pt")})


def test_huggingface_checkpoint_without_its_weights(tmp_path):
    """transformers would draw them at random and only warn."""
    from safetensors.torch import load_file, save_file

    source = hf_hubert(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state = {name: tensor for name, tensor in state.items() if "layers.1.feed_forward" not in name}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 4 weights of the upstream, for example encoder\.layers\.1\.feed_forward"):
        build(source)


def test_huggingface_checkpoint_without_the_embedding_of_masked_frames(tmp_path):
    """As older ones are: the same base in every process, whatever its seed."""
    from safetensors.torch import load_file, save_file

    source = hf_hubert(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["masked_spec_embed"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    fingerprints = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        fingerprints.append(build(source).base_fingerprint)
    assert torch.equal(*fingerprints)


def test_huggingface_folder_of_another_architecture(toy_upstreams):
    """The weights of a wav2vec2 with other norms under the name of a HuBERT."""
    source = {**toy_upstreams["hf_wav2vec2"], "upstream": "hf_hubert_custom"}
    try:
        model = build(source)
    except InputError:
        return
    assert "HubertModel" in type(model.expert.model).__name__  # every weight was there: the two share an architecture


def test_half_precision_checkpoint_is_loaded_in_float32(tmp_path):
    """Hazard 20: transformers 5 loads in the type that the configuration names, s3prl gives it float32 audio."""
    model = build(hf_hubert(tmp_path, half=True)).eval()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    feats, _ = model(BATCH.waves, BATCH.lengths)
    assert feats.dtype == torch.float32 and feats.isfinite().all()


def test_loading_leaves_transformers_as_it_was(toy_upstreams):
    from transformers import PreTrainedModel

    before = PreTrainedModel.__dict__["from_pretrained"]
    build(toy_upstreams["hf_hubert"])
    assert PreTrainedModel.__dict__["from_pretrained"] is before
    assert inspect.ismethod(PreTrainedModel.from_pretrained)


def test_embedded_upstream_loads():
    """The upstream that the package ships works offline, under its own name."""
    model = build({"upstream": "s3router_hubert_mini"}).eval()
    feats, lengths = model(BATCH.waves, BATCH.lengths)
    assert feats.isfinite().all() and lengths.tolist() == [25, 16]
    assert model.family.name == "huggingface"


@pytest.mark.parametrize("multilayer", [False, True])
def test_featurizer_trains_only_if_it_is_used(multilayer, toy_upstreams):
    """Hazard 9: unused weights stall DDP."""
    model = build(toy_upstreams["hubert"], multilayer_feature=multilayer).train()
    assert model.featurizer.weights.requires_grad == multilayer
    model(BATCH.waves, BATCH.lengths)[0].square().sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert (model.featurizer.weights.grad is not None) == multilayer


def test_chosen_layer_and_tiling(toy_upstreams):
    """ESPnet's options mean what they mean in ESPnet."""
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


def test_utterances_shorter_than_fifty_milliseconds(toy_upstreams):
    """s3prl pads a batch that is all too short."""
    short = speech(500, 400)
    model = build(toy_upstreams["hubert"], cache_frozen=1).eval()
    plain = build(toy_upstreams["hubert"]).eval()
    with torch.no_grad():
        feats, lengths = model(short.waves, short.lengths)
        assert feats.shape[:2] == (2, 2) and lengths.tolist() == [2, 2]
        assert feats.isfinite().all()
        assert plain(short.waves, short.lengths)[0].shape == feats.shape
