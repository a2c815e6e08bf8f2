"""The sizes of an upstream: channels, kernels and strides of its convolutions, and heads and units of its layers.

They are read from the live modules, so a model that lost some of its heads, units or channels is described too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from espnet_s3router.errors import InputError
from espnet_s3router.upstreams.families import FAMILIES, Family

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Widths:
    """How many units each structure keeps. Entries are whole numbers, or scalar tensors for expected values."""

    channels: tuple[Any, ...]
    """Output channels of each convolution of the frontend."""
    heads: tuple[Any, ...]
    """Attention heads of each layer."""
    inner: tuple[Any, ...]
    """Inner units of the feed-forward block of each layer."""
    attention_blocks: tuple[Any, ...] = ()
    """1 for each layer whose attention block is there, 0 where it was removed as a whole. Empty: all are there."""
    feed_forward_blocks: tuple[Any, ...] = ()
    """The same for feed-forward blocks."""


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A convolution of the frontend, or of the positional embedding."""

    path: str
    inputs: int
    outputs: int
    kernel: int
    stride: int
    padding: int
    groups: int
    bias: bool
    norm: str | None = None
    """Path of the norm behind it; None if it has none."""
    mixes: bool = False
    """True if that norm takes its statistics over the channels."""

    def length(self, steps: int) -> int:
        """Time steps of the output for so many of the input."""
        return (steps + 2 * self.padding - self.kernel) // self.stride + 1


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A Transformer layer."""

    path: str
    dim: int
    heads: int
    head_width: int
    inner: int
    biases: int
    """How many of q, k and v have a bias."""
    attention_block: bool = True
    """False if the block was removed as a whole: its output has no bias either."""
    feed_forward_block: bool = True
    relative: int
    """Outputs of the matrix that gates WavLM's relative positions, on each head; 0 if there is none."""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """The sizes of one upstream."""

    convolutions: tuple[Convolution, ...]
    position: tuple[Convolution, ...]
    layers: tuple[Layer, ...]
    projected: bool
    """True if a matrix leads from the last convolution to the Transformer."""
    normed: bool
    """True if a layer norm lies before that matrix."""
    spectrum: tuple[int, int] | None
    """Shape of the matrix from a spectrum to the inputs of the first convolution; None for waveforms."""
    window: int | None
    """Frames of a window; None if audio is processed whole."""
    multiple: int
    """The encoder pads its frames to a multiple of this number."""
    samples_per_input: int
    """Samples from one input of the first convolution to the next."""
    parameters: int
    """Parameters of the frontend, the projection and the Transformer."""
    unused: int
    """Parameters that take no part in the hidden states, such as those of the pretraining loss."""

    @property
    def dim(self) -> int:
        """Width of the Transformer."""
        return self.layers[0].dim

    @property
    def widths(self) -> Widths:
        """The present sizes."""
        return Widths(
            channels=tuple(conv.outputs for conv in self.convolutions),
            heads=tuple(layer.heads for layer in self.layers),
            inner=tuple(layer.inner for layer in self.layers),
            attention_blocks=tuple(int(layer.attention_block) for layer in self.layers),
            feed_forward_blocks=tuple(int(layer.feed_forward_block) for layer in self.layers),
        )

    @property
    def free_channels(self) -> tuple[bool, ...]:
        """For each convolution of the frontend: True if its channels may be removed. Without a projection those of the last
        one are the width of the Transformer."""
        return (True,) * (len(self.convolutions) - 1) + (self.projected,)


def structure_of(expert: "nn.Module", family: Family) -> Structure:
    """The sizes of a live upstream. Raises InputError for a family whose layers hold parts that are not described here."""
    if not family.counted:
        raise InputError(
            f"layers of {family.name} upstreams hold more than attention and two feed-forward matrices, so their MACs and "
            f"units are not known. Use another upstream, such as {FAMILIES[0].upstreams[0]}"
        )
    extractor, encoder = expert.get_submodule(family.extractor), expert.get_submodule(family.encoder)
    layers = [(f"{family.layers}.{name}", part) for name, part in expert.get_submodule(family.layers).named_children()]
    convolutions = [
        _convolution(expert, f"{family.extractor}.{path}", family.conv_norms) for path, _ in _convolutions(extractor)
    ]
    counted = [extractor, encoder, *(part for path in family.projection if (part := attribute(expert, path)) is not None)]
    parameters = _numel(counted)
    filters = attribute(expert, family.spectrum)
    return Structure(
        convolutions=tuple(convolutions),
        position=tuple(_convolution(expert, f"{family.encoder}.{path}", ()) for path, _ in _convolutions(encoder)),
        layers=tuple(_layer(path, layer, family) for path, layer in layers),
        projected=attribute(expert, family.projection_matrix) is not None,
        normed=attribute(expert, family.projection_norm) is not None,
        spectrum=None if filters is None else tuple(filters.shape),
        window=attribute(expert, family.window),
        multiple=attribute(encoder, family.frame_multiple) or 1,
        samples_per_input=family.conv_input_hop,
        parameters=parameters,
        unused=_numel([expert]) - parameters,
    )


def attribute(owner: Any, path: str | None) -> Any:
    """The module or attribute at a dotted path; None if there is none."""
    return None if path is None else reduce(lambda part, name: getattr(part, name, None), path.split("."), owner)


def _layer(path: str, layer: Any, family: Family) -> Layer:
    q, k, v, out = (layer.get_submodule(name) for name in family.attention)
    first, second = (layer.get_submodule(name) for name in family.feed_forward)
    block = layer.get_submodule(family.attention_module)
    heads = getattr(block, family.heads, 1)
    gate = attribute(block, "grep_linear")
    return Layer(
        path=path,
        dim=q.weight.shape[1],
        heads=heads,
        head_width=q.weight.shape[0] // heads if heads else 0,
        inner=first.weight.shape[0],
        biases=sum(getattr(part, "bias", None) is not None for part in (q, k, v)),
        attention_block=heads > 0 or out.bias is not None,
        feed_forward_block=first.weight.shape[0] > 0 or second.bias is not None,
        relative=0 if gate is None else gate.weight.shape[0],
    )


def _convolution(expert: "nn.Module", path: str, norms: Sequence[str]) -> Convolution:
    conv: Any = expert.get_submodule(path)
    parent = path.rpartition(".")[0]
    places = [f"{parent}.{name}" for name in norms]
    norm = next((place for place in places if attribute(expert, f"{place}.weight") is not None), None)
    return Convolution(
        path=path,
        inputs=conv.weight.shape[1] * conv.groups,
        outputs=conv.weight.shape[0],
        kernel=conv.kernel_size[0],
        stride=conv.stride[0],
        padding=conv.padding[0],
        groups=conv.groups,
        bias=conv.bias is not None,
        norm=norm,
        mixes=norm is not None and not hasattr(expert.get_submodule(norm), "num_groups"),
    )


def _convolutions(module: "nn.Module") -> list[tuple[str, Any]]:
    return [(path, part) for path, part in module.named_modules() if type(part).__name__.endswith("Conv1d")]


def _numel(modules: Sequence["nn.Module"]) -> int:
    """Parameters of modules, each counted once."""
    return sum({id(p): p.numel() for module in modules for p in module.parameters()}.values())
