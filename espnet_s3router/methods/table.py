"""The table of methods: what a training run may do with an upstream."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from espnet_s3router.errors import InputError
from espnet_s3router.methods.adapters.bitdelta import BitdeltaConfig, bitdelta
from espnet_s3router.methods.adapters.houlsby import HoulsbyConfig, houlsby
from espnet_s3router.methods.adapters.lora import LoraConfig, lora
from espnet_s3router.methods.adapters.mms_adapter import MmsAdapterConfig, mms_adapter
from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.finetune import BitfitConfig, FinetuneConfig, HeadOnlyConfig, bitfit, finetune, head_only
from espnet_s3router.methods.fixed_masks import FixedMaskConfig, MagnitudeConfig, magnitude, random
from espnet_s3router.methods.options import read_options, suggestion
from espnet_s3router.methods.pathways import PathwaysConfig, pathways
from espnet_s3router.methods.pruning.magnitude import ImpConfig, MpiConfig, OmpConfig, RpConfig, imp, mpi, omp, rp
from espnet_s3router.methods.pruning.parp import ParpConfig, ParpPConfig, parp
from espnet_s3router.methods.pruning.routing_prune import RoutingPruneConfig, routing_prune
from espnet_s3router.methods.routing import RoutingConfig, routing
from espnet_s3router.methods.structured.hj import HjConfig
from espnet_s3router.methods.structured.nested import hj_in_sizes
from espnet_s3router.methods.structured.omp_units import OmpUnitsConfig, omp_units
from espnet_s3router.methods.structured.uniform import UniformConfig, uniform


@dataclass(frozen=True)
class Method:
    """A row of the table."""

    config: type
    """The frozen dataclass of the options, which checks their values."""
    attach: Callable[[nn.Module, Any], Attached]
    """(frozen upstream, options) -> handle. Changes the upstream in place."""
    source: str
    """Link to the paper."""
    masks: bool = False
    """True if the run ends with masks, and so has a sparsity."""
    finetunes: bool = False
    """True if the weights of the Transformer and the projection train."""
    units: bool = False
    """True if the run removes whole units, and so has a sparsity without masks."""

    @property
    def sparse(self) -> bool:
        """True if the method has the option ``sparsity``."""
        return self.masks or self.units


_ARXIV = "https://arxiv.org/abs/"
METHODS: dict[str, Method] = {
    "finetune": Method(FinetuneConfig, finetune, _ARXIV + "2006.11477", finetunes=True),
    "head_only": Method(HeadOnlyConfig, head_only, _ARXIV + "2105.01051"),
    "routing": Method(RoutingConfig, routing, _ARXIV + "2211.01522", masks=True),
    "pathways": Method(PathwaysConfig, pathways, _ARXIV + "2209.05735", masks=True),
    "random": Method(FixedMaskConfig, random, "control of routing", masks=True),
    "magnitude": Method(MagnitudeConfig, magnitude, "control of routing", masks=True),
    "routing_prune": Method(RoutingPruneConfig, routing_prune, _ARXIV + "2211.01522", masks=True),
    "parp": Method(ParpConfig, parp, _ARXIV + "2106.05933", masks=True, finetunes=True),
    "parp_p": Method(ParpPConfig, parp, _ARXIV + "2106.05933", masks=True, finetunes=True),
    "omp": Method(OmpConfig, omp, _ARXIV + "2106.05933", masks=True, finetunes=True),
    "imp": Method(ImpConfig, imp, _ARXIV + "1803.03635", masks=True, finetunes=True),
    "mpi": Method(MpiConfig, mpi, _ARXIV + "2106.05933", masks=True, finetunes=True),
    "rp": Method(RpConfig, rp, _ARXIV + "2106.05933", masks=True, finetunes=True),
    "hj": Method(HjConfig, hj_in_sizes, _ARXIV + "2302.14132", finetunes=True, units=True),
    "omp_units": Method(OmpUnitsConfig, omp_units, _ARXIV + "1608.08710", finetunes=True, units=True),
    "uniform": Method(UniformConfig, uniform, "control of hj", finetunes=True, units=True),
    "lora": Method(LoraConfig, lora, _ARXIV + "2106.09685"),
    "houlsby": Method(HoulsbyConfig, houlsby, _ARXIV + "1902.00751"),
    "bitfit": Method(BitfitConfig, bitfit, _ARXIV + "2106.10199"),
    "mms_adapter": Method(MmsAdapterConfig, mms_adapter, _ARXIV + "2305.13516"),
    "bitdelta": Method(BitdeltaConfig, bitdelta, _ARXIV + "2402.10193"),
}


def resolve(mask_conf: Mapping[str, Any]) -> tuple[str, Any]:
    """(name of the method, its checked options) of a ``mask_conf``. Raises InputError that lists the allowed values."""
    if not isinstance(mask_conf, Mapping):
        raise InputError(
            f"mask_conf is {mask_conf!r}, expected keys and values, such as {{method: routing, sparsity: 0.08}}"
        )
    options = dict(mask_conf)
    name = options.pop("method", None)
    if not isinstance(name, str) or name not in METHODS:
        hint = suggestion(str(name), METHODS)
        raise InputError(f"mask_conf: method is {name!r}, expected one of {', '.join(METHODS)}.{hint}")
    return name, read_options(METHODS[name].config, options, "mask_conf", f" of method {name}")


def attach(upstream: nn.Module, mask_conf: Mapping[str, Any]) -> Attached:
    """Freeze ``upstream`` (an s3prl expert), apply the method of ``mask_conf`` in place, and return its handle."""
    name, options = resolve(mask_conf)
    upstream.requires_grad_(False)
    attached = METHODS[name].attach(upstream, options)
    attached.method = name
    attached.config = asdict(options)
    return attached
