"""Sites: which tensors of a model carry a mask."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from espnet_s3router.masks.shared_units import SharedBy


@dataclass(frozen=True, kw_only=True)
class Site:
    """One maskable tensor: attribute ``tensor`` of ``module``, at ``name`` in the model."""

    name: str
    """Dotted path of the tensor, for example ``model.encoder.layers.0.fc1.weight``."""
    module: nn.Module
    tensor: str
    """Attribute of the tensor on ``module``."""
    group: str = "other"
    """feed_forward, attention, conv or other. A configuration may give each group its own sparsity."""
    layer: int | None = None
    """Index of the Transformer layer, None outside the layers."""
    unit: SharedBy | None = None
    """Where the units lie that it shares with other tensors. None if a ranking does not ask for it."""


def maskable(model: nn.Module) -> dict[str, tuple[nn.Module, str]]:
    """All floating-point parameters with two or more dimensions, by dotted path, in the order of the model."""
    tensors = {}
    for module_name, module in model.named_modules():
        for tensor_name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() >= 2 and parameter.is_floating_point():
                tensors[f"{module_name}.{tensor_name}" if module_name else tensor_name] = (module, tensor_name)
    return tensors


def find_sites(
    model: nn.Module,
    patterns: Iterable[str],
    *,
    groups: Mapping[str, Iterable[str]] | None = None,
    layer_of: Mapping[str, int] | None = None,
) -> list[Site]:
    """Sites whose dotted path matches any ``fnmatch`` pattern, in the order of the model.

    ``groups`` maps a group name to patterns, ``layer_of`` the path of a tensor to its layer. ValueError with the nearest
    names for a pattern without a match.
    """
    tensors = maskable(model)
    patterns = list(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in tensors):
            near = get_close_matches(pattern, tensors, n=5, cutoff=0.0)
            raise ValueError(f"pattern {pattern!r} matches no maskable tensor; nearest names: {', '.join(near) or 'none'}")

    def group_of(name: str) -> str:
        hits = (g for g, globs in (groups or {}).items() if any(fnmatchcase(name, glob) for glob in globs))
        return next(hits, "other")

    return [
        Site(name=name, module=module, tensor=tensor, group=group_of(name), layer=(layer_of or {}).get(name))
        for name, (module, tensor) in tensors.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
