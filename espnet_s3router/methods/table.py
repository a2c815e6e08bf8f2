"""The table of methods: what a training run may do with an upstream."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any

from torch import nn

from espnet_s3router.errors import InputError
from espnet_s3router.methods import adapters, parp, pruning_config, routing_prune
from espnet_s3router.methods import finetune as weights
from espnet_s3router.methods import magnitude_pruning as prune_finetune
from espnet_s3router.methods import options as config
from espnet_s3router.methods import routing as masking
from espnet_s3router.methods.base import Attached


@dataclass(frozen=True, kw_only=True)
class Method:
    """A row of the table."""

    config: type
    attach: Callable[[nn.Module, Any], Attached]
    """Prepares a frozen upstream in place and says what is trained."""
    masks: bool
    """Whether the run ends with masks, and so has a sparsity."""
    source: str


METHODS: dict[str, Method] = {
    "finetune": Method(
        config=config.FinetuneConfig, attach=weights.finetune, masks=False, source="arXiv 2006.11477 sec. 4.3"
    ),
    "head_only": Method(
        config=config.HeadOnlyConfig, attach=weights.head_only, masks=False, source="SUPERB, arXiv 2105.01051"
    ),
    "routing": Method(config=config.RoutingConfig, attach=masking.routing, masks=True, source="arXiv 2211.01522"),
    "random": Method(config=config.FixedMaskConfig, attach=masking.random, masks=True, source="control"),
    "magnitude": Method(config=config.FixedMaskConfig, attach=masking.magnitude, masks=True, source="control"),
    "routing_prune": Method(
        config=pruning_config.RoutingPruneConfig,
        attach=routing_prune.routing_prune,
        masks=True,
        source="S3-Router-P, arXiv 2211.01522",
    ),
    "parp": Method(config=pruning_config.ParpConfig, attach=parp.parp, masks=True, source="arXiv 2106.05933"),
    "parp_p": Method(config=pruning_config.ParpPConfig, attach=parp.parp, masks=True, source="arXiv 2106.05933"),
    "omp": Method(config=pruning_config.OmpConfig, attach=prune_finetune.omp, masks=True, source="arXiv 2106.05933"),
    "imp": Method(config=pruning_config.ImpConfig, attach=prune_finetune.imp, masks=True, source="arXiv 1803.03635"),
    "mpi": Method(config=pruning_config.MpiConfig, attach=prune_finetune.mpi, masks=True, source="arXiv 2106.05933"),
    "rp": Method(config=pruning_config.RpConfig, attach=prune_finetune.rp, masks=True, source="arXiv 2106.05933"),
    "lora": Method(config=config.LoraConfig, attach=adapters.lora, masks=False, source="arXiv 2106.09685"),
    "houlsby": Method(config=config.HoulsbyConfig, attach=adapters.houlsby, masks=False, source="arXiv 1902.00751"),
    "bitfit": Method(config=config.BitfitConfig, attach=weights.bitfit, masks=False, source="arXiv 2106.10199"),
}


def resolve(mask_conf: Mapping[str, Any]) -> tuple[str, Any]:
    """(method name, its validated configuration) of a ``mask_conf`` mapping; InputError says what is allowed."""
    if not isinstance(mask_conf, Mapping):
        raise InputError(
            f"mask_conf is {mask_conf!r}, expected keys and values, such as {{method: routing, sparsity: 0.08}}"
        )
    options = dict(mask_conf)
    name = options.pop("method", None)
    if name not in METHODS:
        near = get_close_matches(str(name), METHODS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise InputError(f"mask_conf: method is {name!r}, expected one of {', '.join(METHODS)}.{hint}")
    kind = METHODS[name].config
    allowed = [f.name for f in fields(kind)]
    for key in options:
        if key not in allowed:
            near = get_close_matches(key, allowed, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(
                f"mask_conf: key {key!r} is not an option of method {name}; allowed: {', '.join(allowed) or 'none'}.{hint}"
            )
    for f in fields(kind):
        check_type(f.name, f.type, options.get(f.name))
    try:
        return name, kind(**options)
    except TypeError as error:  # a required key is missing, or a value has a type its check cannot compare
        raise InputError(f"mask_conf of method {name}: {error}; options: {', '.join(allowed)}") from error


def check_type(key: str, kind: object, value: object, *, where: str = "mask_conf") -> None:
    """InputError for a switch, a number or a whole number that is something else ("false" in quotes would count as true)."""
    if value is None or kind not in _TYPES:
        return
    accepted, words = _TYPES[kind]
    if not isinstance(value, accepted) or isinstance(value, bool) and kind is not bool:
        raise InputError(f"{where}: {key} is {value!r}, expected {words}")


_TYPES: dict[object, tuple[Any, str]] = {
    bool: (bool, "true or false"),
    int: (int, "a whole number"),
    float: (int | float, "a number"),
}


def attach(upstream: nn.Module, mask_conf: Mapping[str, Any]) -> Attached:
    """Freeze ``upstream`` (an s3prl expert), apply the method of ``mask_conf`` in place, and return its handle."""
    name, configuration = resolve(mask_conf)
    upstream.requires_grad_(False)
    attached = METHODS[name].attach(upstream, configuration)
    attached.method = name
    attached.config = asdict(configuration)
    return attached
