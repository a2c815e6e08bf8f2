"""Parameters and multiply-accumulate operations (MACs) of an upstream, by part. 1 MAC = 2 FLOPs.

Counted are matrix products and convolutions, as ``torch.utils.flop_counter`` counts them. Norms, activations and the Fourier
transform are not. The formulas take whole numbers, and tensors too: expected sizes then give expected counts with gradients.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from espnet_s3router.upstreams.families import Family
from espnet_s3router.upstreams.structure import Structure, Widths, structure_of

if TYPE_CHECKING:
    from torch import nn

SAMPLE_RATE = 16000


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Time steps for one utterance."""

    spectrum: int
    """Vectors of the spectrum; 0 for waveforms."""
    convolutions: tuple[int, ...]
    """Outputs of each convolution of the frontend."""
    latent: int
    """Frames that the frontend gives to the projection and the positional convolution."""
    frames: int
    """Frames in the Transformer, padding included."""
    squared: int
    """Pairs of frames in attention: the sum of squares over windows."""


def macs_per_second(expert: "nn.Module", family: Family, seconds: float = 10.0, widths: Widths | None = None) -> int | None:
    """MACs per second of audio for an utterance of ``seconds``; the cost of attention grows with its length.

    Masked weights count in full: scattered zeros save no time on dense hardware. None for a family that is not ``counted``.
    """
    if not family.counted:
        return None
    return round(sum(macs(structure_of(expert, family), seconds, widths).values()) / seconds)


def macs(structure: Structure, seconds: float, widths: Widths | None = None) -> dict[str, Any]:
    """MACs of an utterance of ``seconds`` by part. ``widths`` are sizes to use in place of the present ones."""
    widths = widths or structure.widths
    steps = steps_of(structure, int(seconds * SAMPLE_RATE))
    mels, bins = structure.spectrum or (0, 0)
    inputs = (structure.convolutions[0].inputs, *widths.channels)
    pairs = zip(structure.convolutions, steps.convolutions, inputs, widths.channels)
    frontend = sum(length * conv.kernel * before * after for conv, length, before, after in pairs)
    # an even kernel gives a frame too many, which is computed and cut off
    position = sum(conv.length(steps.latent) * _entries(conv) for conv in structure.position)
    attention: Any = 0
    for layer, heads in zip(structure.layers, widths.heads):
        width = heads * layer.head_width
        attention = attention + 4 * steps.frames * layer.dim * width + 2 * steps.squared * width
        attention = attention + steps.frames * layer.relative * width
    feed_forward = sum(2 * steps.frames * layer.dim * inner for layer, inner in zip(structure.layers, widths.inner))
    return {
        "spectrum": steps.spectrum * mels * bins,
        "convolutions": frontend,
        "projection": steps.latent * structure.dim * widths.channels[-1] if structure.projected else 0,
        "position": position,
        "attention": attention,
        "feed_forward": feed_forward,
    }


def parameters(structure: Structure, widths: Widths | None = None) -> dict[str, Any]:
    """Parameters by part. ``rest`` holds norms of the Transformer and everything else that has a fixed size."""
    counts = _formula(structure, widths or structure.widths)
    rest = structure.parameters - sum(_formula(structure, structure.widths).values())
    return counts | {"rest": rest}


def _formula(structure: Structure, widths: Widths) -> dict[str, Any]:
    inputs = (structure.convolutions[0].inputs, *widths.channels)
    frontend: Any = 0
    for conv, before, after in zip(structure.convolutions, inputs, widths.channels):
        frontend = frontend + after * (conv.kernel * before + conv.bias + 2 * (conv.norm is not None))
    projection: Any = 0
    if structure.projected:
        projection = widths.channels[-1] * (structure.dim + 2 * structure.normed) + structure.dim
    whole = (1,) * len(structure.layers)
    attention: Any = 0
    for layer, heads, block in zip(structure.layers, widths.heads, widths.attention_blocks or whole):
        attention = attention + heads * layer.head_width * (4 * layer.dim + layer.biases) + layer.dim * block
    feed_forward: Any = 0
    for layer, inner, block in zip(structure.layers, widths.inner, widths.feed_forward_blocks or whole):
        feed_forward = feed_forward + inner * (2 * layer.dim + 1) + layer.dim * block
    position = sum(_entries(conv) + conv.outputs * conv.bias for conv in structure.position)
    return {
        "convolutions": frontend,
        "projection": projection,
        "position": position,
        "attention": attention,
        "feed_forward": feed_forward,
    }


def steps_of(structure: Structure, samples: int) -> Steps:
    """Time steps for an utterance of so many samples."""
    if structure.window is not None:
        return _windowed_steps(structure, structure.window, samples)
    lengths, steps = [], samples // structure.samples_per_input
    for conv in structure.convolutions:
        steps = conv.length(steps)
        lengths.append(steps)
    frames = -(-steps // structure.multiple) * structure.multiple
    return Steps(spectrum=0, convolutions=tuple(lengths), latent=steps, frames=frames, squared=frames * frames)


def _windowed_steps(structure: Structure, window: int, samples: int) -> Steps:
    """As Whisper's encoder: convolutions see one frame of silence behind the audio, unless the window is full. Further
    windows make every window as long as a full one in the Transformer."""
    stride = structure.samples_per_input
    for conv in structure.convolutions:
        stride *= conv.stride
    spectrum, totals, left = 0, [0] * len(structure.convolutions), samples
    while left > 0:
        steps = min(-(-left // stride) + 1, window) * stride // structure.samples_per_input
        spectrum += steps
        for index, conv in enumerate(structure.convolutions):
            steps = conv.length(steps)
            totals[index] += steps
        left -= window * stride
    frames = -(-samples // stride)
    windows, width = -(-frames // window), min(frames, window)
    return Steps(
        spectrum=spectrum,
        convolutions=tuple(totals),
        latent=frames,
        frames=windows * width,
        squared=windows * width * width,
    )


def _entries(conv: Any) -> int:
    """Entries of the weight of a convolution."""
    return conv.outputs * conv.inputs // conv.groups * conv.kernel
