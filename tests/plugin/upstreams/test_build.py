"""Loading upstreams, and what is refused before any training."""

import inspect
import shutil

import pytest
import torch
from toys import hf_hubert, speech

from espnet_s3router.errors import InputError

BATCH = speech(8000, 5000, seed=1)
ROUTING = {"method": "routing", "sparsity": 0.1}


def build(source, **options):
    from espnet_s3router.plugin.frontend import MaskedUpstream

    return MaskedUpstream(frontend_conf=source, **{"mask_conf": ROUTING, **options})


def test_unknown_upstream():
    with pytest.raises(InputError, match="'hubret_custom', which s3prl does not know; near: .*hubert_custom"):
        build({"upstream": "hubret_custom", "path_or_url": "x"})


@pytest.mark.parametrize("name", ["wav2vec2_custom", "hf_hubert_custom", "wavlm_local", "espnet_hubert_custom"])
def test_missing_file(name, tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        build({"upstream": name, "path_or_url": str(tmp_path / "nothing.pt")})


def test_options_one_level_too_deep(toy_upstreams):
    """They would be ignored, and the masks would be the default ones."""
    source = toy_upstreams["hf_hubert"]
    with pytest.raises(InputError, match="holds 'mask_conf', expected some of upstream, .* one level up"):
        build({**source, "mask_conf": ROUTING})
    with pytest.raises(InputError, match="path_or_url is '/nowhere', but s3router_hubert_mini comes with this package"):
        build({"upstream": "s3router_hubert_mini", "path_or_url": "/nowhere"})
    with pytest.raises(InputError, match="within it is 'hubert', expected at least"):
        build("hubert")


def test_a_folder_that_reads_like_a_name_on_the_hub():
    with pytest.raises(InputError, match="There is no folder downloads/mine in .* either, so the hub was searched"):
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
    """Older checkpoints lack it. The base must be the same in every process, whatever its seed."""
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


@pytest.mark.parametrize("family", ["hf_hubert", "hf_whisper"])
@pytest.mark.parametrize("missing", ["config.json", "preprocessor_config.json"])
def test_huggingface_folder_that_lacks_a_file(family, missing, toy_upstreams, tmp_path):
    source = toy_upstreams[family]
    folder = shutil.copytree(source["path_or_url"], tmp_path / "model")
    (folder / missing).unlink()
    with pytest.raises(InputError, match=f"{folder} has no {missing} .*save_pretrained"):
        build({**source, "path_or_url": str(folder)})
