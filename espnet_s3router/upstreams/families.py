"""What is known of each upstream family, as data: names of its tensors and modules.

Paths are relative to the s3prl expert (``S3PRLUpstream.upstream``). A family is recognised by its structure, so a user's
own checkpoint of a known architecture needs no registration. Adding a family is adding a row here.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from espnet_s3router.errors import InputError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Family:
    """Names of one architecture; ``{layers}`` entries are relative to one Transformer layer."""

    name: str
    upstreams: tuple[str, ...]
    """s3prl names this family is loaded by, for messages."""
    encoder: str
    """Module whose children ``layers`` are the Transformer layers."""
    layers: str
    """Module list of the Transformer layers."""
    feed_forward: tuple[str, ...]
    """The two feed-forward matrices of a layer."""
    attention: tuple[str, ...]
    """The q, k, v and output matrices of a layer."""
    attention_module: str
    """The attention block of a layer (its forward is called, unlike that of its projections in fairseq-style models)."""
    extractor: str
    """The convolutional frontend: waveform (batch, samples) -> (batch, channels, frames)."""
    conv: str
    """Pattern of the frontend's convolution weights."""
    projection: tuple[str, ...]
    """Modules between frontend and Transformer."""
    latent: str
    """Module whose output (batch, frames, dim) is what time and channel masking act on."""
    mask_embedding: str | None
    """Parameter (dim,) that stands for a masked frame; None: zeros."""
    hop: int = 1
    """Samples from one input of the frontend's first convolution to the next: 1 for waveforms."""

    def patterns(self, target: str) -> list[str]:
        """fnmatch patterns of ``feed_forward``, ``attention``, ``all`` (both) or ``conv``."""
        if target == "conv":
            return [self.conv]
        names = {"feed_forward": self.feed_forward, "attention": self.attention}
        chosen = names.get(target, self.feed_forward + self.attention)
        return [f"{self.layers}.*.{name}.weight" for name in chosen]


TARGETS = ("feed_forward", "attention", "all", "conv")

_FAIRSEQ_ATTENTION = tuple(f"self_attn.{part}_proj" for part in ("q", "k", "v", "out"))
_HF_ATTENTION = tuple(f"attention.{part}_proj" for part in ("q", "k", "v", "out"))
_HF_FEED_FORWARD = ("feed_forward.intermediate_dense", "feed_forward.output_dense")

FAMILIES = (
    Family(
        name="fairseq",
        upstreams=("wav2vec2", "hubert", "wavlm", "data2vec", "xls_r_300m"),
        encoder="model.encoder",
        layers="model.encoder.layers",
        feed_forward=("fc1", "fc2"),
        attention=_FAIRSEQ_ATTENTION,
        attention_module="self_attn",
        extractor="model.feature_extractor",
        conv="model.feature_extractor.conv_layers.*.0.weight",
        projection=("model.layer_norm", "model.post_extract_proj"),
        latent="model.dropout_input",
        mask_embedding="model.mask_emb",
    ),
    Family(
        name="huggingface",
        upstreams=("hf_wav2vec2_custom", "hf_hubert_custom", "s3router_hubert_mini"),
        encoder="model.encoder",
        layers="model.encoder.layers",
        feed_forward=_HF_FEED_FORWARD,
        attention=_HF_ATTENTION,
        attention_module="attention",
        extractor="model.feature_extractor",
        conv="model.feature_extractor.conv_layers.*.conv.weight",
        projection=("model.feature_projection",),
        latent="model.feature_projection",
        mask_embedding="model.masked_spec_embed",
    ),
    Family(
        name="torchaudio",
        upstreams=("espnet_hubert_custom", "cvhubert"),
        encoder="model.wav2vec2.encoder.transformer",
        layers="model.wav2vec2.encoder.transformer.layers",
        feed_forward=_HF_FEED_FORWARD,
        attention=_HF_ATTENTION,
        attention_module="attention",
        extractor="model.wav2vec2.feature_extractor",
        conv="model.wav2vec2.feature_extractor.conv_layers.*.conv.weight",
        projection=("model.wav2vec2.encoder.feature_projection",),
        latent="model.wav2vec2.encoder.feature_projection",
        mask_embedding="model.mask_generator.mask_embedding",
    ),
    Family(
        name="whisper",
        upstreams=("hf_whisper_custom",),
        encoder="model.encoder",
        layers="model.encoder.layers",
        feed_forward=("fc1", "fc2"),
        attention=_FAIRSEQ_ATTENTION,
        attention_module="self_attn",
        extractor="model.extractor",
        conv="model.extractor.conv?.weight",
        projection=(),
        latent="model.latent",
        mask_embedding=None,
        hop=160,
    ),
)


def family_of(expert: "nn.Module") -> Family:
    """The family whose feed-forward matrices, attention and frontend are all present; InputError when none is."""
    names = [name for name, _ in expert.named_parameters()]
    for family in FAMILIES:
        wanted = [*family.patterns("all"), family.conv]
        # parametrized tensors (masked, weight-normalised) are listed under their original's name
        if all(any(fnmatchcase(_plain(name), pattern) for name in names) for pattern in wanted):
            return family
    known = ", ".join(f"{family.name} ({', '.join(family.upstreams)})" for family in FAMILIES)
    raise InputError(
        f"{type(expert).__module__} is of no known upstream family: its parameters begin {names[:3]}. Known: {known}. "
        "A new family is one entry in espnet_s3router/upstreams/families.py."
    )


def _plain(name: str) -> str:
    return name.replace(".parametrizations.", ".").removesuffix(".original")


def layer_indices(family: Family, names: list[str]) -> dict[str, int]:
    """Transformer layer of each named tensor that lies in one."""
    prefix = family.layers + "."
    return {name: int(name[len(prefix) :].split(".")[0]) for name in names if name.startswith(prefix)}
