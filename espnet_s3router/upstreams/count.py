"""Analytic multiply-accumulate operations (MACs) of an upstream, from the shapes of its weights. 1 MAC = 2 FLOPs."""

from typing import TYPE_CHECKING, Any

from espnet_s3router.upstreams.families import Family

if TYPE_CHECKING:
    from torch import nn

SAMPLE_RATE = 16000


def macs_per_second(expert: "nn.Module", family: Family, seconds: float = 10.0) -> int:
    """MACs per second of audio for an utterance of ``seconds`` (attention grows with its length): convolutional frontend,
    projection, positional convolution, and the matrices and attention products of every layer; norms, activations and
    spectra not counted. Masked weights count in full: zeros scattered over a matrix save no time on dense hardware."""
    inputs = int(seconds * SAMPLE_RATE) // family.hop
    total, frames = _extractor(expert.get_submodule(family.extractor), inputs)
    for path in family.projection:
        total += frames * sum(_weight_numel(module) for module in _linears(expert.get_submodule(path)))
    for module in expert.get_submodule(family.encoder).modules():
        if type(module).__name__.endswith("Conv1d"):
            total += frames * _weight_numel(module)
    for layer in expert.get_submodule(family.layers).children():
        first: Any = layer.get_submodule(family.feed_forward[0])
        dim = first.weight.shape[1]
        names = (*family.feed_forward, *family.attention)
        total += frames * sum(_weight_numel(layer.get_submodule(name)) for name in names)
        total += 2 * frames * frames * dim  # q k^T and the weighted sum of v, all heads together
    return round(total / seconds)


def _extractor(extractor: "nn.Module", inputs: int) -> tuple[int, int]:
    """(MACs, frames) of a stack of convolutions over so many ``inputs``."""
    total, length = 0, inputs
    for module in extractor.modules():
        if type(module).__name__.endswith("Conv1d"):
            conv: Any = module
            length = (length + 2 * conv.padding[0] - conv.kernel_size[0]) // conv.stride[0] + 1
            total += length * _weight_numel(conv)
    return total, length


def _linears(module: "nn.Module") -> list[Any]:
    return [found for found in module.modules() if hasattr(found, "in_features")]


def _weight_numel(module: Any) -> int:
    """Entries of the weight, whether parametrized or not."""
    return module.weight.numel()
