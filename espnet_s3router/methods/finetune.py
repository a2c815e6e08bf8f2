"""Methods that train weights of the upstream as they are, or none of them."""

from collections.abc import Callable

from torch import nn

from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.options import BitfitConfig, FinetuneConfig, HeadOnlyConfig
from espnet_s3router.upstreams import Family, family_of


def finetune(upstream: nn.Module, config: FinetuneConfig) -> Attached:
    """Train Transformer and projection; the convolutional frontend only if asked."""
    return Attached(upstream=upstream, trained=finetuned(upstream, config.train_cnn))


def finetuned(upstream: nn.Module, train_cnn: bool) -> dict[str, nn.Parameter]:
    """What finetuning changes, by path; the convolutional frontend only with ``train_cnn``."""
    family = family_of(upstream)
    prefixes = [family.encoder, *family.projection, *([family.extractor] if train_cnn else [])]
    return parameters_below(upstream, prefixes)


def head_only(upstream: nn.Module, config: HeadOnlyConfig) -> Attached:
    """Train nothing of the upstream."""
    return Attached(upstream=upstream, trained={})


def bitfit(upstream: nn.Module, config: BitfitConfig) -> Attached:
    """Train the biases of the Transformer, its layer-norm gains too if asked."""
    trained = biases(upstream, family_of(upstream))
    if config.train_norms:
        trained |= norms(upstream, family_of(upstream))
    return Attached(upstream=upstream, trained=trained)


def parameters_below(model: nn.Module, prefixes: list[str]) -> dict[str, nn.Parameter]:
    """Parameters whose path is, or lies below, one of ``prefixes``, in the order of the model."""
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)
    }


def biases(upstream: nn.Module, family: Family) -> dict[str, nn.Parameter]:
    """All biases of the Transformer layers."""
    return _select(upstream, family, lambda name, module: name.rpartition(".")[2] == "bias")


def norms(upstream: nn.Module, family: Family) -> dict[str, nn.Parameter]:
    """Gains and biases of the layer norms in the Transformer layers."""
    return _select(upstream, family, lambda name, module: isinstance(module, nn.LayerNorm))


def _select(upstream: nn.Module, family: Family, wanted: Callable[[str, nn.Module], bool]) -> dict[str, nn.Parameter]:
    modules = dict(upstream.named_modules())
    layers = parameters_below(upstream, [family.layers])
    return {name: p for name, p in layers.items() if wanted(name, modules[name.rpartition(".")[0]])}
