"""Analytic multiply-accumulate operations (MACs) of an upstream, from the shapes of its weights. 1 MAC = 2 FLOPs."""

from typing import TYPE_CHECKING, Any

from espnet_s3router.upstreams.families import Family

if TYPE_CHECKING:
    from torch import nn

SAMPLE_RATE = 16000


def macs_per_second(expert: "nn.Module", family: Family, seconds: float = 10.0) -> int:
    """MACs per second of audio for an utterance of ``seconds``; the cost of attention grows with its length.

    Counted are the convolutional frontend, the projection, the positional convolution, and the matrices and attention
    products of every layer. Norms, activations and spectra are not. Masked weights count in full: scattered zeros save no
    time on dense hardware.
    """
    inputs = int(seconds * SAMPLE_RATE) // family.conv_input_hop
    total, frames = _extractor_macs(expert.get_submodule(family.extractor), inputs)
    for path in family.projection:
        linears = (module for module in expert.get_submodule(path).modules() if hasattr(module, "in_features"))
        total += frames * sum(_weight_numel(module) for module in linears)
    total += frames * sum(_weight_numel(module) for module in _convolutions(expert.get_submodule(family.encoder)))
    for layer in expert.get_submodule(family.layers).children():
        first: Any = layer.get_submodule(family.feed_forward[0])
        dim = first.weight.shape[1]
        names = (*family.feed_forward, *family.attention)
        total += frames * sum(_weight_numel(layer.get_submodule(name)) for name in names)
        total += 2 * frames * frames * dim  # q k^T and the weighted sum of v, all heads together
    return round(total / seconds)


def _extractor_macs(extractor: "nn.Module", inputs: int) -> tuple[int, int]:
    """(MACs, frames) of a stack of convolutions; ``inputs`` is the length of its input in time steps."""
    total, length = 0, inputs
    for conv in _convolutions(extractor):
        length = (length + 2 * conv.padding[0] - conv.kernel_size[0]) // conv.stride[0] + 1
        total += length * _weight_numel(conv)
    return total, length


def _convolutions(module: "nn.Module") -> list[Any]:
    return [part for part in module.modules() if type(part).__name__.endswith("Conv1d")]


def _weight_numel(module: Any) -> int:
    """Number of entries of the weight, parametrized or not."""
    return module.weight.numel()
