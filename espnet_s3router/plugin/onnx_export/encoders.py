"""Upstreams as ONNX holds them: waveforms of any batch and length -> hidden states, one class for each family.

An utterance gets the same output alone and in a batch, because padding takes part in nothing.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from espnet_s3router.plugin.onnx_export import NotExportable
from espnet_s3router.plugin.onnx_export.layers import (
    Attention,
    BiasAlone,
    FairseqAttention,
    HuggingFaceAttention,
    WhisperAttention,
    attention_bias,
    group_norm,
    normalized_waves,
    valid,
    without_weight_norm,
)
from espnet_s3router.plugin.onnx_export.log_mel import ConvolutionalLogMel
from espnet_s3router.plugin.upstreams.whisper_encoder import STRIDE
from espnet_s3router.upstreams import family_of

States = list[Tensor]


class Encoder(nn.Module):
    """Waveforms (batch, samples) and samples (batch,) -> hidden states (batch, frames, dim) and frames (batch,).

    Hidden states are the input of every Transformer layer and the last output. The upstream ``expert`` is changed in place:
    its attention is replaced, and so are feed-forward blocks that lost all units.
    """

    attention: type[Attention]
    longest: int | None = None
    """The most samples of an utterance; None for any number."""

    def __init__(self, expert: Any) -> None:
        super().__init__()
        self.expert = expert
        family = family_of(expert)
        for layer in expert.get_submodule(family.layers):
            own = getattr(layer, family.attention_module)
            setattr(layer, family.attention_module, self.attention(own, heads_of(own)))
            if not layer.get_submodule(family.feed_forward[0]).weight.shape[0]:
                without_units(layer, *family.feed_forward)
        without_weight_norm(expert)

    def forward(self, waves: Tensor, samples: Tensor) -> tuple[States, Tensor]:
        raise NotImplementedError


class Convolutional(Encoder):
    """Families with wav2vec2's frontend: convolutions, a projection, and a Transformer with convolutional positions."""

    def forward(self, waves: Tensor, samples: Tensor) -> tuple[States, Tensor]:
        x, frames = convolved(self.expert.model.feature_extractor, self.normalized(waves, samples), samples)
        mask = valid(frames, x.shape[2])
        x = torch.where(mask[..., None], self.projected(x.transpose(1, 2)), 0.0)
        return self.transformed(x, mask), frames

    def normalized(self, waves: Tensor, samples: Tensor) -> Tensor:
        """The waveforms as the first convolution gets them."""
        raise NotImplementedError

    def projected(self, x: Tensor) -> Tensor:
        """(batch, frames, channels) -> (batch, frames, dim)."""
        raise NotImplementedError

    def transformed(self, x: Tensor, mask: Tensor) -> States:
        """All hidden states, each (batch, frames, dim). ``x`` is 0 where ``mask`` (batch, frames) is False."""
        raise NotImplementedError


class Fairseq(Convolutional):
    """wav2vec2, HuBERT and data2vec of s3prl."""

    attention = FairseqAttention

    def normalized(self, waves: Tensor, samples: Tensor) -> Tensor:
        task = getattr(self.expert, "task_cfg", None)
        wanted = self.expert.wav_normalize if task is None else task.normalize
        return normalized_waves(waves, samples, 1e-5) if wanted else waves  # s3prl: the epsilon of a layer norm

    def projected(self, x: Tensor) -> Tensor:
        model = self.expert.model
        x = model.layer_norm(x)
        return x if model.post_extract_proj is None else model.post_extract_proj(x)

    def transformed(self, x: Tensor, mask: Tensor) -> States:
        encoder, bias = self.expert.model.encoder, attention_bias(mask)
        x = x + positions(encoder.pos_conv, x.transpose(1, 2), mask[:, None]).transpose(1, 2)
        x = x if encoder.layer_norm_first else encoder.layer_norm(x)
        states = []
        for layer in encoder.layers:
            states.append(x)
            x = layer(x, self_attn_padding_mask=bias)[0]
        return [*states, encoder.layer_norm(x) if encoder.layer_norm_first else x]


class HuggingFace(Convolutional):
    """wav2vec2 and HuBERT of transformers."""

    attention = HuggingFaceAttention

    def __init__(self, expert: Any) -> None:
        stable = bool(expert.model.config.do_stable_layer_norm)
        norms_last = stable and not ends_in_layer(expert)  # versions of transformers differ
        super().__init__(expert)
        self.stable, self.norms_last = stable, norms_last

    def normalized(self, waves: Tensor, samples: Tensor) -> Tensor:
        wanted = self.expert.extracter.do_normalize
        return normalized_waves(waves, samples, 1e-7) if wanted else waves  # transformers: Wav2Vec2FeatureExtractor

    def projected(self, x: Tensor) -> Tensor:
        out = self.expert.model.feature_projection(x)
        return out[0] if isinstance(out, tuple) else out  # Wav2Vec2Model returns the normalised features, too

    def transformed(self, x: Tensor, mask: Tensor) -> States:
        encoder, bias = self.expert.model.encoder, attention_bias(mask)
        x = x + encoder.pos_conv_embed(x)
        x = x if self.stable else encoder.layer_norm(x)
        states = []
        for layer in encoder.layers:
            states.append(x)
            out = layer(x, attention_mask=bias)
            x = out[0] if isinstance(out, tuple) else out
        return [*states, encoder.layer_norm(x) if self.norms_last else x]


class Whisper(Encoder):
    """Our encoder of Whisper, for utterances of at most one window (less than 30 s)."""

    attention = WhisperAttention

    def __init__(self, expert: Any) -> None:
        super().__init__(expert)
        self.log_mel = ConvolutionalLogMel(expert.model.extractor.log_mel)
        self.longest = longest_of(expert)

    def forward(self, waves: Tensor, samples: Tensor) -> tuple[States, Tensor]:
        model = self.expert.model
        count = (waves.shape[1] + STRIDE - 1) // STRIDE
        frames = (samples + STRIDE - 1) // STRIDE
        waves = torch.where(valid(samples, waves.shape[1]), waves, 0.0)
        waves = F.pad(waves, (0, (count + 1) * STRIDE - waves.shape[1]))
        x = F.gelu(model.extractor.conv1(self.log_mel(waves)))  # (batch, dim, 2 * count + 2)
        x = F.gelu(model.extractor.conv2(x))[:, :, :count].transpose(1, 2)
        states = model.encoder(x + model.positions[:count], attention_bias(valid(frames, count)))
        return states, frames


ENCODERS: dict[str, type[Encoder]] = {"fairseq": Fairseq, "huggingface": HuggingFace, "whisper": Whisper}
"""Classes by the name of the family."""


def encoder_of(expert: Any, where: str) -> Encoder:
    """The encoder of an upstream. Raises NotExportable that begins with ``where`` for a family that cannot be exported."""
    name = family_of(expert).name
    if name not in ENCODERS or any(hasattr(module, "grep_linear") for module in expert.modules()):
        kind = "WavLM" if name in ENCODERS else f"{name}-style upstreams"
        raise NotExportable(f"{where}: {kind} cannot be written as ONNX. These can: wav2vec2, HuBERT, data2vec, Whisper")
    return ENCODERS[name](expert)


def longest_of(expert: Any) -> int | None:
    """The most samples that an encoder takes at a time; None for any number.

    Whisper's convolutions see a frame of silence behind the audio, so its last position stays free.
    """
    return (len(expert.model.positions) - 1) * STRIDE if family_of(expert).name == "whisper" else None


def without_units(layer: nn.Module, first: str, second: str) -> None:
    """Replace the matrices of a feed-forward block without inner units by what is left of it: the last bias."""
    for path, part in ((first, nn.Identity()), (second, BiasAlone(layer.get_submodule(second)))):
        owner, _, name = path.rpartition(".")
        setattr(layer.get_submodule(owner), name, part)


def heads_of(attention: Any) -> int:
    """The number of heads of an attention module of any family."""
    return int(attention.heads if hasattr(attention, "heads") else attention.num_heads)


@torch.no_grad()
def ends_in_layer(expert: Any) -> bool:
    """True if the last hidden state of a Hugging Face upstream is the output of its last layer, without the final norm."""
    outputs: list[Any] = []
    last = expert.model.encoder.layers[-1]
    hook = last.register_forward_hook(lambda module, given, output: outputs.append(output))
    wave = torch.linspace(-0.5, 0.5, 8000).sin()
    state = expert([wave])["hidden_states"][-1]
    hook.remove()
    output = outputs[0][0] if isinstance(outputs[0], tuple) else outputs[0]
    return torch.equal(state, output)


def convolved(extractor: Any, waves: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
    """Features (batch, channels, frames) of a convolutional frontend and the frames (batch,) of each utterance."""
    x, frames = waves[:, None], samples
    for layer in extractor.conv_layers:
        (conv,) = (part for part in layer.modules() if isinstance(part, nn.Conv1d))
        frames = (frames - conv.kernel_size[0]) // conv.stride[0] + 1
        if any(isinstance(part, nn.GroupNorm) for part in layer.modules()):
            for part in parts_of(layer):
                x = group_norm(part, x, frames) if isinstance(part, nn.GroupNorm) else part(x)
        else:
            x = layer(x)
    return x, frames


def parts_of(layer: Any) -> Iterator[nn.Module]:
    """The parts of a convolutional layer in their order, which is not that of the attributes in transformers."""
    yield from layer if isinstance(layer, nn.Sequential) else (layer.conv, layer.layer_norm, layer.activation)


def positions(pos_conv: Any, x: Tensor, mask: Tensor) -> Tensor:
    """The positional convolution of (batch, dim, frames). Each of its blocks sees zeros beyond the end of an utterance."""
    blocks = pos_conv if isinstance(pos_conv[0], nn.Sequential) else [pos_conv]
    for block in blocks:
        x = torch.where(mask, block(x), 0.0)
    return x


def receptive_field(expert: Any) -> int:
    """Samples that the first frame needs; 1 for an extractor that pads."""
    family = family_of(expert)
    if family.first_frame == 1:
        return 1
    samples = 1
    convs = [part for part in expert.get_submodule(family.extractor).modules() if isinstance(part, nn.Conv1d)]
    for conv in reversed(convs):
        samples = (samples - 1) * conv.stride[0] + conv.kernel_size[0]
    return samples
