"""Upstream families as data: names of tensors and modules, and properties of the convolutional frontend.

Paths are relative to the s3prl expert (``S3PRLUpstream.upstream``). A family is recognised by its structure, so a user's
own checkpoint of a known architecture needs no registration. A new family is a new row in FAMILIES.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from espnet_s3router.errors import InputError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture. Paths of ``feed_forward`` and ``attention`` are relative to one Transformer layer."""

    name: str
    upstreams: tuple[str, ...]
    """s3prl names that load this family, for error messages."""
    encoder: str
    """Module that holds the Transformer: ``layers``, their norms and the positional convolution."""
    layers: str
    """Module list of the Transformer layers."""
    feed_forward: tuple[str, ...]
    """The feed-forward matrices of a layer."""
    attention: tuple[str, ...]
    """The q, k, v and output matrices of a layer."""
    attention_module: str
    """The attention block of a layer. Its forward is called; fairseq-style models never call that of its projections."""
    extractor: str
    """The convolutional frontend: waveform (batch, samples) -> (batch, channels, frames)."""
    conv: str
    """Pattern of the frontend's convolution weights."""
    projection: tuple[str, ...]
    """Modules between frontend and Transformer."""
    conv_norms: tuple[str, ...] = ("layer_norm",)
    """Where the norm of a convolution may lie, relative to the parent of the convolution. Some layers have none."""
    projection_norm: str | None
    """Layer norm over the channels of the last convolution; None if there is none."""
    projection_matrix: str | None
    """Linear map from these channels to the width of the Transformer; None if the last convolution has that width."""
    heads: str = "num_heads"
    """Attribute of the attention block: its number of heads."""
    counted: bool = True
    """False if a layer computes more than attention and two feed-forward matrices. Its MACs and units are not known then."""
    attention_output: str = "tuple"
    """What the attention block returns: a ``tuple`` that begins with the output, or the output alone as a ``tensor``."""
    frame_multiple: str | None = None
    """Attribute of the encoder: its input is padded to a multiple of so many frames. None: it is not padded."""
    spectrum: str | None = None
    """Matrix from the bins of a spectrum to the inputs of the first convolution. None: the input is the waveform."""
    window: str | None = None
    """Attribute, by its path: audio is processed in windows of so many frames. None: it is processed whole."""
    latent: str
    """Module whose output (batch, frames, dim) gets the time and channel masks."""
    mask_embedding: str | None
    """Parameter (dim,) that replaces a masked frame. None if the family has none; zeros then replace it."""
    dropouts: Mapping[str, tuple[str, ...]]
    """Paths of dropout modules or probabilities: input, transformer, attention, activation. ``*`` is every layer."""
    extractor_takes_lengths: bool = False
    """True if the extractor takes and returns lengths beside the waveform and the features."""
    conv_input_hop: int = 1
    """Samples from one input of the first convolution to the next: 1 for waveforms, more for spectra."""
    frame_hop: int = 320
    """Samples from one frame to the next."""
    first_frame: int = 400
    """Samples that the first frame needs: the receptive field, or 1 for an extractor that pads.

    320 and 400 follow from kernels 10 3 3 3 3 2 2 and strides 5 2 2 2 2 2 2 (arXiv 2006.11477 sec. 4.2).
    """

    def patterns(self, target: str) -> list[str]:
        """fnmatch patterns of ``feed_forward``, ``attention``, ``all`` (both) or ``conv``."""
        if target == "conv":
            return [self.conv]
        names = {"feed_forward": self.feed_forward, "attention": self.attention}
        chosen = names.get(target, self.feed_forward + self.attention)
        return [f"{self.layers}.*.{name}.weight" for name in chosen]

    def frames(self, samples: int) -> int:
        """Frames of the standard frontend for ``samples`` at 16 kHz; 0 if shorter than the first frame."""
        return max(0, (samples - self.first_frame) // self.frame_hop + 1)


TARGETS = ("feed_forward", "attention", "all", "conv")

_FAIRSEQ_ATTENTION = tuple(f"self_attn.{part}_proj" for part in ("q", "k", "v", "out"))
_HF_ATTENTION = tuple(f"attention.{part}_proj" for part in ("q", "k", "v", "out"))
_HF_FEED_FORWARD = ("feed_forward.intermediate_dense", "feed_forward.output_dense")


def _hf_dropouts(encoder: str, projection: str) -> dict[str, tuple[str, ...]]:
    """Dropouts of the families with Hugging Face's and torchaudio's names."""
    layer = f"{encoder}.layers.*"
    return {
        "input": (f"{projection}.dropout",),
        "transformer": (f"{encoder}.dropout", f"{layer}.dropout", f"{layer}.feed_forward.output_dropout"),
        "attention": (f"{layer}.attention.dropout",),
        "activation": (f"{layer}.feed_forward.intermediate_dropout",),
    }


FAMILIES = (
    Family(
        name="fairseq",
        upstreams=("wav2vec2", "hubert", "wavlm", "data2vec", "xls_r_300m", "xlsr_53"),
        encoder="model.encoder",
        layers="model.encoder.layers",
        feed_forward=("fc1", "fc2"),
        attention=_FAIRSEQ_ATTENTION,
        attention_module="self_attn",
        extractor="model.feature_extractor",
        conv="model.feature_extractor.conv_layers.*.0.weight",
        conv_norms=("2.1", "2"),
        projection=("model.layer_norm", "model.post_extract_proj"),
        projection_norm="model.layer_norm",
        projection_matrix="model.post_extract_proj",
        frame_multiple="required_seq_len_multiple",
        latent="model.dropout_input",
        mask_embedding="model.mask_emb",
        dropouts={
            "input": ("model.dropout_input",),
            "transformer": ("model.encoder.dropout", "model.encoder.layers.*.dropout1", "model.encoder.layers.*.dropout3"),
            "attention": ("model.encoder.layers.*.self_attn.dropout_module",),
            "activation": ("model.encoder.layers.*.dropout2",),
        },
    ),
    Family(
        name="conformer",
        upstreams=("wav2vec2_conformer",),
        encoder="model.encoder",
        layers="model.encoder.layers",
        feed_forward=("ffn1.w_1", "ffn1.w_2", "ffn2.w_1", "ffn2.w_2"),
        attention=tuple(f"self_attn.linear_{part}" for part in ("q", "k", "v", "out")),
        attention_module="self_attn",
        extractor="model.feature_extractor",
        conv="model.feature_extractor.conv_layers.*.0.weight",
        conv_norms=("2.1", "2"),
        projection=("model.layer_norm", "model.post_extract_proj"),
        projection_norm="model.layer_norm",
        projection_matrix="model.post_extract_proj",
        heads="h",
        counted=False,
        latent="model.dropout_input",
        mask_embedding="model.mask_emb",
        dropouts={
            "input": ("model.dropout_input",),
            "transformer": (
                "model.encoder.dropout",
                *(f"model.encoder.layers.*.ffn{module}.dropout{place}" for module in (1, 2) for place in (1, 2)),
                "model.encoder.layers.*.self_attn_dropout",
                "model.encoder.layers.*.conv_module.dropout",
            ),
            "attention": ("model.encoder.layers.*.self_attn.dropout",),
        },
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
        projection_norm="model.feature_projection.layer_norm",
        projection_matrix="model.feature_projection.projection",
        latent="model.feature_projection",
        mask_embedding="model.masked_spec_embed",
        dropouts=_hf_dropouts("model.encoder", "model.feature_projection"),
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
        projection_norm="model.wav2vec2.encoder.feature_projection.layer_norm",
        projection_matrix="model.wav2vec2.encoder.feature_projection.projection",
        latent="model.wav2vec2.encoder.feature_projection",
        mask_embedding="model.mask_generator.mask_embedding",
        dropouts=_hf_dropouts("model.wav2vec2.encoder.transformer", "model.wav2vec2.encoder.feature_projection"),
        extractor_takes_lengths=True,
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
        projection_norm=None,
        projection_matrix=None,
        heads="heads",
        attention_output="tensor",
        spectrum="model.extractor.log_mel.filters",
        window="model.extractor.frames",
        latent="model.latent",
        mask_embedding=None,
        dropouts={
            "transformer": ("model.encoder.dropout", "model.encoder.layers.*.dropout"),
            "attention": ("model.encoder.layers.*.self_attn.dropout",),
            "activation": ("model.encoder.layers.*.activation_dropout",),
        },
        conv_input_hop=160,
        first_frame=1,
    ),
)


def family_named(upstream: str) -> Family | None:
    """The family of an s3prl entry by its name, such as ``wav2vec2_base_960``. None if only its structure can tell.

    The names of a family stand for all entries that begin with them; the longest name counts.
    """
    names = {name.removesuffix("_custom"): family for family in FAMILIES for name in family.upstreams}
    matches = [name for name in names if f"{upstream}_".startswith(f"{name}_")]
    return names[max(matches, key=len)] if matches else None


def family_of(expert: "nn.Module") -> Family:
    """The family whose feed-forward matrices, attention and frontend are all present; InputError if there is none."""
    # Modules keep their paths when their tensors are masked or weight-normalised.
    weights = [f"{name}.weight" for name, _ in expert.named_modules()]
    for family in FAMILIES:
        patterns = [*family.patterns("all"), family.conv]
        if all(any(fnmatchcase(name, pattern) for name in weights) for pattern in patterns):
            return family
    known = ", ".join(f"{family.name} ({', '.join(family.upstreams)})" for family in FAMILIES)
    first = [name for name, _ in islice(expert.named_parameters(), 3)]
    raise InputError(
        f"{type(expert).__module__} belongs to no known upstream family. Its first parameters are {first}. Known: {known}. "
        "A new family is one entry in espnet_s3router/upstreams/families.py."
    )


class Layered(Protocol):
    """A family, of speech or of text."""

    @property
    def layers(self) -> str:
        """Module list of the Transformer layers."""


def layer_indices(family: Layered, names: list[str]) -> dict[str, int]:
    """Transformer layer (from 0) of each named tensor inside the layers."""
    prefix = family.layers + "."
    return {name: int(name[len(prefix) :].split(".")[0]) for name in names if name.startswith(prefix)}
