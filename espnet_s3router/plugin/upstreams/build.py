"""Building an upstream through s3prl, and building it again when ESPnet's ``init:`` has overwritten it."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from espnet_s3router.errors import InputError
from espnet_s3router.upstreams import EMBEDDED

if TYPE_CHECKING:
    from espnet_s3router.plugin.frontend import MaskedUpstream


SOURCE_KEYS = ("upstream", "path_or_url", "normalize", "extra_conf", "tile_factor")
"""What ESPnet's S3prlFrontend reads of the ``frontend_conf`` within ``frontend_conf``."""


def check_source(source: Any) -> None:
    """InputError for what nobody would read: an option of masks one level too deep would be its default instead."""
    if not isinstance(source, Mapping):
        raise InputError(f"frontend_conf: the frontend_conf within it is {source!r}, expected at least {{upstream: NAME}}")
    for key in source:
        if key not in SOURCE_KEYS:
            raise InputError(
                f"frontend_conf: the frontend_conf within it holds {key!r}, expected some of {', '.join(SOURCE_KEYS)}. "
                "Everything else, such as mask_conf, belongs one level up"
            )
    if source.get("upstream") in EMBEDDED and source.get("path_or_url") is not None:
        raise InputError(
            f"frontend_conf: path_or_url is {source['path_or_url']!r}, and {source['upstream']} comes with this package. "
            "Remove it, or name the entry of s3prl that loads the path, such as hf_hubert_custom"
        )


def resolve_source(source: dict[str, Any]) -> tuple[str, str | None, dict[str, Any]]:
    """(s3prl entry, path or url, extra configuration) of a ``frontend_conf`` block; InputError if nothing can be there."""
    from s3prl.nn import S3PRLUpstream

    check_source(source)
    name, path = source.get("upstream"), source.get("path_or_url")
    if name in EMBEDDED:
        name, folder = EMBEDDED[name]
        path = str(folder)
    available = S3PRLUpstream.available_names()
    if name not in available:
        from difflib import get_close_matches

        near = get_close_matches(str(name), [*available, *EMBEDDED], n=5, cutoff=0.3)
        raise InputError(f"frontend_conf: upstream is {name!r}, which s3prl does not know; near: {', '.join(near)}")
    local = path is not None and "://" not in str(path) and name.rsplit("_", 1)[-1] in ("custom", "local")
    if local and not Path(path).exists() and not may_be_hub_id(name, path):
        raise InputError(f"frontend_conf: path_or_url is {path!r}, and there is no such file or folder")
    if path is None and name.endswith(("_custom", "_local", "_url")):
        raise InputError(f"frontend_conf: upstream {name} needs path_or_url")
    return name, path, source.get("extra_conf") or {}


def may_be_hub_id(name: str, path: Any) -> bool:
    """Whether a path could name a model of Hugging Face's hub: ``owner/name``."""
    return name.startswith("hf_") and str(path).count("/") == 1 and not str(path).startswith((".", "/"))


def load_upstream(source: dict[str, Any]) -> nn.Module:
    """The ``S3PRLUpstream`` of a ``frontend_conf`` block, float32, in evaluation mode; InputError if it cannot be loaded."""
    from s3prl.nn import S3PRLUpstream

    name, path, extra = resolve_source(source)
    try:
        with complete_float32(name):
            upstream = S3PRLUpstream(name, path_or_url=path, normalize=source.get("normalize", False), extra_conf=extra)
    except InputError:
        raise
    except Exception as error:  # whatever a foreign loader raises on a file that is no upstream
        hint = ""
        if path is not None and may_be_hub_id(name, path) and not Path(path).exists():
            hint = f". There is no folder {path} in {Path.cwd()} either, so it was looked for on the hub"
        raise InputError(
            f"frontend_conf: upstream {name!r} could not be loaded from {path!r}: {reason(error)}. "
            f"Expected a checkpoint that s3prl loads under this name{hint}"
        ) from error
    if name in ("espnet_hubert_custom", "espnet_hubert_local"):
        check_espnet_hubert(upstream.upstream, str(path))
    quieten(upstream.upstream)
    return upstream.float().eval()


def reason(error: Exception) -> str:
    """The kind of a foreign error and the beginning of its message: some go on for a page."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}{'…' if len(text) > 300 else ''}"


@contextmanager
def complete_float32(name: str) -> Iterator[None]:
    """Within the block transformers loads in float32 and refuses a checkpoint that lacks weights of the model.

    transformers 5 loads in the type that the checkpoint's configuration names, and s3prl gives it float32 audio; weights
    that a checkpoint lacks are drawn at random with no more than a warning.
    """
    if not name.startswith("hf_") or int(version("transformers").split(".")[0]) < 5:
        yield
        return
    from transformers import PreTrainedModel

    plain = PreTrainedModel.__dict__["from_pretrained"]

    def from_pretrained(cls: type, *args: Any, **kwargs: Any) -> nn.Module:
        kwargs = {"dtype": torch.float32, **kwargs, "output_loading_info": True}
        model, report = plain.__func__(cls, *args, **kwargs)
        missing = set(report["missing_keys"])
        if "masked_spec_embed" in missing:  # as in older checkpoints; drawn anew by every process, it would change the base
            model.get_parameter("masked_spec_embed").detach().zero_()
        refuse_missing(sorted(missing - {"masked_spec_embed"}), str(args[:1]))
        return model

    PreTrainedModel.from_pretrained = classmethod(from_pretrained)  # type: ignore[assignment]
    try:
        yield
    finally:
        PreTrainedModel.from_pretrained = plain


def check_espnet_hubert(expert: nn.Module, path: str) -> None:
    """ESPnet loads its HuBERT with strict=False: InputError when ``path`` lacks weights of the encoder. (Its config.yaml is
    looked for beside the checkpoint: s3prl's entry drops the keyword that would name it.)"""
    given = torch.load(path, map_location="cpu", weights_only=True)
    given = given.get("module", given)
    wanted = expert.get_submodule("model.wav2vec2").state_dict()
    prefix = "encoder.hubert_pretrain_model.wav2vec2."
    refuse_missing([key for key in wanted if prefix + key not in given], path)


def refuse_missing(missing: list[str], path: str) -> None:
    """InputError when there is anything in ``missing``, the names of weights that a checkpoint should have held."""
    if missing:
        raise InputError(
            f"frontend_conf: {path} lacks {len(missing)} weights of the upstream, for example {missing[0]}; they would be "
            "random. Expected a checkpoint of this architecture"
        )


def quieten(expert: nn.Module) -> None:
    """Switch off what makes a training-mode upstream drop layers or mask by itself: s3prl counts the layers it gets back,
    and our own options (``layerdrop``, ``latent_masking``) work alike on every family."""
    for module in expert.modules():
        config = getattr(module, "config", None)
        for owner in (module, config):
            for name in ("layerdrop", "layer_drop"):
                own = not isinstance(getattr(type(owner), name, None), property)
                if own and isinstance(getattr(owner, name, None), float):
                    setattr(owner, name, 0.0)
        if getattr(config, "apply_spec_augment", False):
            config.apply_spec_augment = False  # type: ignore[union-attr]
        if getattr(module, "feature_grad_mult", None) is not None:
            module.feature_grad_mult = 1.0  # type: ignore[assignment]


def build_upstream(
    source: dict[str, Any], *, fs: int | str, download_dir: str | None, layer: int, multilayer_feature: bool
) -> tuple[nn.Module, nn.Module]:
    """(upstream, featurizer) as ESPnet's S3prlFrontend has them."""
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
    upstream = load_upstream(source)
    if layer != -1 and not 0 <= layer < upstream.num_layers:
        raise InputError(f"frontend_conf: layer is {layer}, the upstream has {upstream.num_layers} (0 is the input)")
    return upstream, Featurizer(upstream, layer_selections=None if layer == -1 else [layer])


@torch.no_grad()
def reload_upstream(frontend: "MaskedUpstream") -> None:
    """Load the upstream and the method's initial state once more and copy both into ``frontend``, in place."""
    from espnet_s3router.methods import attach

    fresh = load_upstream(frontend.source)
    attach(fresh.upstream, frontend.mask_conf)
    frontend.upstream.load_state_dict(fresh.state_dict(), strict=True)
    if hasattr(frontend.featurizer, "weights"):
        frontend.featurizer.weights.zero_()  # equal weights after the softmax, as s3prl begins
    logging.info(f"Reloaded {frontend.source.get('upstream')}")
