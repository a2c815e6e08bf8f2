"""Building an upstream through s3prl, in float32 and complete."""

from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espnet_s3router.deploy.file import load_shrunk
from espnet_s3router.errors import InputError, summary
from espnet_s3router.plugin.checkpoint import fingerprint, hexadecimal
from espnet_s3router.plugin.patching import replaced
from espnet_s3router.plugin.upstreams.source import may_be_hub_id, resolve_source
from espnet_s3router.upstreams import family_of


def build_upstream(
    source: dict[str, Any], *, fs: int | str, download_dir: str | None, layer: int, multilayer_feature: bool
) -> tuple[nn.Module, nn.Module]:
    """(upstream, featurizer), as in ESPnet's S3prlFrontend."""
    import humanfriendly
    from s3prl.nn import Featurizer
    from s3prl.util import download

    try:
        rate = humanfriendly.parse_size(fs) if isinstance(fs, str) else fs
    except humanfriendly.InvalidSize as error:
        raise InputError(f"frontend_conf: fs is {fs!r}, expected 16000 or 16k") from error
    if rate != 16000:
        raise InputError(f"frontend_conf: fs is {fs}, but s3prl's upstreams take 16 kHz audio: format it with --fs 16k")
    if layer != -1 and multilayer_feature:
        raise InputError("frontend_conf: layer and multilayer_feature exclude each other: remove one of them")
    if download_dir is not None:
        download.set_dir(download_dir)
    upstream: Any = load_upstream(source)
    if layer != -1 and not 0 <= layer < upstream.num_layers:
        raise InputError(f"frontend_conf: layer is {layer}, the upstream has {upstream.num_layers} (0 is the input)")
    return upstream, Featurizer(upstream, layer_selections=None if layer == -1 else [layer])


def load_upstream(source: dict[str, Any]) -> nn.Module:
    """The ``S3PRLUpstream`` of an inner ``frontend_conf``, float32, in evaluation mode; InputError if loading fails."""
    from s3prl.nn import S3PRLUpstream

    name, path, extra = resolve_source(source)
    try:
        with complete_float32(name):
            upstream = S3PRLUpstream(name, path_or_url=path, normalize=source.get("normalize", False), extra_conf=extra)
    except InputError:
        raise
    except Exception as error:  # other libraries raise many types on foreign files
        origin, hint = f"from {path!r}", ""
        if path is None:
            origin = "by its name"
            hint = (
                ". s3prl downloads it, which needs a network. For a copy on this disk, name the entry of s3prl that loads a "
            )
            hint += "path, such as wav2vec2_custom, and set path_or_url"
        if path is not None and may_be_hub_id(name, path) and not Path(path).exists():
            hint = f". There is no folder {path} in {Path.cwd()} either, so the hub was searched"
        raise InputError(
            f"frontend_conf: upstream {name!r} could not be loaded {origin}: {summary(error)}. "
            f"Expected a checkpoint that s3prl loads under this name{hint}"
        ) from error
    if name in ("espnet_hubert_custom", "espnet_hubert_local"):
        check_espnet_hubert(upstream.upstream, str(path))
    disable_random_layers_and_masks(upstream.upstream)
    upstream = upstream.float().eval()
    if source.get("shrunk") is not None:
        family, option = family_of(upstream.upstream), "frontend_conf: shrunk"
        base = hexadecimal(fingerprint(upstream))
        load_shrunk(upstream.upstream, family, Path(source["shrunk"]), base=base, upstream=source["upstream"], option=option)
    return upstream


def complete_float32(name: str) -> AbstractContextManager[None]:
    """Within the block, transformers loads in float32 and refuses a checkpoint that lacks weights of the model.

    transformers 5 uses the type that the checkpoint's configuration names, but s3prl passes float32 audio. It only warns
    when it draws missing weights at random.
    """
    if not name.startswith("hf_") or int(version("transformers").split(".")[0]) < 5:
        return nullcontext()
    from transformers import PreTrainedModel

    original = PreTrainedModel.__dict__["from_pretrained"]

    def from_pretrained(cls: type, *args: Any, **kwargs: Any) -> nn.Module:
        kwargs = {"dtype": torch.float32, **kwargs, "output_loading_info": True}
        model, report = original.__func__(cls, *args, **kwargs)
        missing = set(report["missing_keys"])
        if "masked_spec_embed" in missing:  # older checkpoints lack it; a random one would differ between processes
            model.get_parameter("masked_spec_embed").detach().zero_()
        check_complete(sorted(missing - {"masked_spec_embed"}), str(args[:1]))
        return model

    return replaced(PreTrainedModel, "from_pretrained", classmethod(from_pretrained))


def check_espnet_hubert(expert: nn.Module, path: str) -> None:
    """InputError when ``path`` lacks weights of the encoder: ESPnet loads its HuBERT with strict=False."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("module", state)
    prefix = "encoder.hubert_pretrain_model.wav2vec2."
    check_complete([key for key in expert.get_submodule("model.wav2vec2").state_dict() if prefix + key not in state], path)


def check_complete(missing: list[str], path: str) -> None:
    """InputError if a checkpoint lacks weights; ``missing`` holds their names."""
    if missing:
        raise InputError(
            f"frontend_conf: {path} lacks {len(missing)} weights of the upstream, for example {missing[0]}; they would be "
            "random. Expected a checkpoint of this architecture"
        )


def disable_random_layers_and_masks(expert: nn.Module) -> None:
    """Switch off the upstream's own layer drop, SpecAugment and gradient scaling, in place: s3prl counts the layers that it
    receives. Our options ``layerdrop`` and ``latent_masking`` work for every family."""
    for module in expert.modules():
        config = getattr(module, "config", None)
        for owner in (module, config):
            for name in ("layerdrop", "layer_drop"):
                settable = not isinstance(getattr(type(owner), name, None), property)
                if settable and isinstance(getattr(owner, name, None), float):
                    setattr(owner, name, 0.0)
        if getattr(config, "apply_spec_augment", False):
            config.apply_spec_augment = False  # type: ignore[union-attr]
        if getattr(module, "feature_grad_mult", None) is not None:
            module.feature_grad_mult = 1.0  # type: ignore[assignment]
