"""Methods that train weights of the upstream directly: finetune, bitfit, and head_only, which trains none."""

from dataclasses import dataclass

from torch import nn

from espnet_s3router.methods.base import Attached
from espnet_s3router.upstreams.text import layout_of


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Trains the weights of the Transformer and the projection."""

    train_cnn: bool = False
    """Train the convolutional frontend too (the papers freeze it; ESPnet's own s3prl recipes train it)."""


@dataclass(frozen=True, kw_only=True)
class HeadOnlyConfig:
    """Trains the head on the frozen upstream."""


@dataclass(frozen=True, kw_only=True)
class BitfitConfig:
    """Trains the biases of the Transformer only (arXiv 2106.10199)."""

    train_norms: bool = False
    """Also train the gains of the layer norms (their biases are biases)."""


def finetune(upstream: nn.Module, config: FinetuneConfig) -> Attached:
    """Train the Transformer and the projection, with ``train_cnn`` the convolutional frontend too."""
    return Attached(upstream=upstream, trained=finetuned(upstream, config.train_cnn))


def head_only(upstream: nn.Module, config: HeadOnlyConfig) -> Attached:
    """Train no weight of the upstream."""
    return Attached(upstream=upstream, trained={})


def bitfit(upstream: nn.Module, config: BitfitConfig) -> Attached:
    """Train the biases of the Transformer, with ``train_norms`` its layer norms too."""
    return Attached(upstream=upstream, trained=biases(upstream) | (norms(upstream) if config.train_norms else {}))


def finetuned(upstream: nn.Module, train_cnn: bool) -> dict[str, nn.Parameter]:
    """Parameters that finetuning trains, by path."""
    family = layout_of(upstream)
    return _below(upstream, family.encoder, *family.projection, *([family.extractor] if train_cnn else []))


def biases(upstream: nn.Module) -> dict[str, nn.Parameter]:
    """Biases of the Transformer layers, by path."""
    layers = _below(upstream, layout_of(upstream).layers)
    return {name: parameter for name, parameter in layers.items() if name.endswith(".bias")}


def norms(upstream: nn.Module) -> dict[str, nn.Parameter]:
    """Gains and biases of the layer norms in the Transformer layers, by path."""
    layers, modules = _below(upstream, layout_of(upstream).layers), dict(upstream.named_modules())
    return {name: p for name, p in layers.items() if isinstance(modules[name.rpartition(".")[0]], nn.LayerNorm)}


def _below(model: nn.Module, *paths: str) -> dict[str, nn.Parameter]:
    """Parameters at or below any of ``paths``, in the order of the model."""
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if any(name == path or name.startswith(path + ".") for path in paths)
    }
