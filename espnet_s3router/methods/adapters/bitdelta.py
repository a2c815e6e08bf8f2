"""BitDelta: what finetuning has changed, as one bit for each weight and few scales (arXiv 2402.10193 sec. 3.1).

With D = W_finetuned - W, the model computes with W + scale * sign(D). The signs stay fixed. The scale begins as the mean of
|D|, which has the least squared error, and then trains.

The paper has one scale for each matrix and distils the logits of the finetuned model: set ``distill`` in ``frontend_conf``,
whose teacher is ``start`` by default. Per-Axis Weight Deltas (arXiv 2512.19720) have a scale for each row or each column.
They choose between the two for each matrix; here one choice holds for all.

Scales are small, often about 1e-3. So good learning rates lie below those of other methods.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils import parametrize

from espnet_s3router.masks.names import parameter_key
from espnet_s3router.masks.ranking import version
from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.finetune import finetuned
from espnet_s3router.methods.options import check, check_choice, check_path, check_targets, require_start, sites_of

SCALES = ("matrix", "row", "column", "both")
REST = ("start", "vectors", "base")


@dataclass(frozen=True, kw_only=True)
class BitdeltaConfig:
    """Signs of the weights' changes in a finetuned model (``start``), with scales that train."""

    scales: str = "matrix"
    """What has a scale: matrix (the paper), row (each output), column (each input), or both, whose product counts."""
    targets: str | tuple[str, ...] = "all"
    """Matrices whose change is kept as signs, as for masks; the paper takes all matrices of the layers."""
    rest: str = "start"
    """Other finetuned tensors: start (all keep their finetuned values, as in the paper's code), vectors (only biases and
    norms do), or base (none does)."""
    train_cnn: bool = False
    """Set this if the run that ``start`` comes from trained the convolutional frontend."""
    start: str | None = None
    """Model file of a finished run of method ``finetune`` on the same upstream."""

    def __post_init__(self) -> None:
        check_choice("scales", self.scales, SCALES)
        check_choice("rest", self.rest, REST)
        check_targets(self)
        check_path("start", self.start)
        require_start(self.start)


class SignDelta(nn.Module):
    """weight -> weight + scale * sign, where the scale is that of the row, of the column, their product or a single one.

    ``signs`` (bytes,) holds eight signs in each number, the first in the highest bit: 1 is +1, 0 is -1. They are whole
    floats from 0 to 255, because ESPnet's averaging of models sums integer tensors.
    """

    def __init__(self, shape: torch.Size, scales: str) -> None:
        super().__init__()
        self.shape, self.scales = shape, scales
        sizes = sizes_of(shape, scales)
        self.signs = nn.Parameter(torch.zeros(sizes.pop("signs")))
        for name, size in sizes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(size)))
        self._signs: Tensor | None = None
        self._key: Hashable = None

    @torch.no_grad()
    def fit(self, delta: Tensor) -> None:
        """Set signs and scales to those nearest to ``delta`` (shape of the weight), in place. Zero has the sign -1."""
        self.signs.copy_(pack(delta > 0))
        for name, values in best_scales(delta.abs(), self.scales).items():
            self.get_parameter(name).copy_(values)

    def forward(self, weight: Tensor) -> Tensor:
        if self._signs is None or version(self.signs) != self._key:
            with torch.inference_mode(False), torch.no_grad():  # autograd could not use an inference tensor later
                self._signs = unpack(self.signs.detach(), self.shape)
            self._key = version(self.signs)
        return _AddScaled.apply(weight, math.prod(self.get_parameter(name) for name in self.scale_names()), self._signs)

    def scale_names(self) -> list[str]:
        """Names of the parameters whose product is the scale."""
        return [name for name in sizes_of(self.shape, self.scales) if name != "signs"]


def sizes_of(shape: torch.Size, scales: str) -> dict[str, list[int]]:
    """Shapes of the parameters of a ``SignDelta``, by name. All but ``signs`` are factors of the scale."""
    single = [1] * len(shape)
    rows, columns = {"rows": [shape[0], *single[1:]]}, {"columns": [1, shape[1], *single[2:]]}
    factors = {"matrix": {"rows": single}, "row": rows, "column": columns, "both": rows | columns}
    return {"signs": [-(-shape.numel() // 8)], **factors[scales]}


def with_delta(weight: Tensor, signs: Tensor, **scales: Tensor) -> Tensor:
    """What a ``SignDelta`` with these parameters makes of the weight."""
    scale = math.prod(tensor.to(weight.dtype) for tensor in scales.values())
    return weight + scale * unpack(signs, weight.shape)


class _AddScaled(torch.autograd.Function):
    """apply(weight, scale, signs) -> weight + scale * signs. Keeps the signs in one byte each for the backward pass."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, signs: Tensor) -> Tensor:
        ctx.save_for_backward(signs)
        ctx.size = scale.shape
        return weight + scale * signs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        (signs,) = ctx.saved_tensors
        return grad if ctx.needs_input_grad[0] else None, (grad * signs).sum_to_size(ctx.size), None


def best_scales(size: Tensor, scales: str) -> dict[str, Tensor]:
    """Scales with the least squared error to ``size``, the magnitudes of a delta (out, in, ...).

    For rows and columns these are means. For ``both`` it is the best product, by alternating least squares. Both factors
    then have the same mean.
    """
    dims = set(range(size.dim()))
    over = {"rows": sorted(dims - {0}), "columns": sorted(dims - {1})}
    if scales == "matrix":
        return {"rows": size.mean(dim=sorted(dims), keepdim=True)}
    if scales != "both":
        return {f"{scales}s": size.mean(dim=over[f"{scales}s"], keepdim=True)}
    tiny = torch.finfo(size.dtype).tiny
    columns = size.mean(dim=over["columns"], keepdim=True)
    for _ in range(20):
        rows = (size * columns).mean(dim=over["rows"], keepdim=True) / columns.square().mean().clamp_min(tiny)
        columns = (size * rows).mean(dim=over["columns"], keepdim=True) / rows.square().mean().clamp_min(tiny)
    balance = (columns.mean() / rows.mean().clamp_min(tiny)).sqrt().clamp_min(tiny)
    return {"rows": rows * balance, "columns": columns / balance}


def pack(bits: Tensor) -> Tensor:
    """Boolean entries as (bytes,) floats from 0 to 255."""
    padded = nn.functional.pad(bits.flatten().float(), (0, -bits.numel() % 8))
    return padded.view(-1, 8) @ _places(bits.device).float()


def unpack(signs: Tensor, shape: torch.Size) -> Tensor:
    """+1 and -1 as int8 in ``shape``, from what ``pack`` has returned."""
    bits = signs.to(torch.uint8)[:, None].bitwise_and(_places(signs.device)) != 0
    return bits.flatten()[: shape.numel()].to(torch.int8).mul_(2).sub_(1).view(shape)


def _places(device: torch.device) -> Tensor:
    return torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=device)


@dataclass(kw_only=True)
class SignDeltas(Attached):
    """Scaled signs on the targets."""

    deltas: dict[str, SignDelta]
    """By the path of their tensor."""

    @torch.no_grad()
    def begin(self, start: Mapping[str, Tensor] | None = None, saliency: Mapping[str, Tensor] | None = None) -> None:
        """With ``start``, takes signs and scales from its distance to the base, and the other tensors as they are."""
        if start is None:
            return
        kept = self.trained | self.saved
        super().begin({name: tensor for name, tensor in start.items() if name in kept})
        for name, delta in self.deltas.items():
            base = self.startable[name]
            delta.fit(start[name].to(base.device) - base)


def bitdelta(upstream: nn.Module, config: BitdeltaConfig) -> SignDeltas:
    """Put scaled signs on every target and train the scales. Signs and other finetuned tensors are saved with them."""
    startable = finetuned(upstream, config.train_cnn)  # before the deltas change their names
    sites = sites_of(upstream, config.targets)
    for site in sites:
        allowed = "matrices that finetune trains; set train_cnn: true or leave out"
        check(site.name in startable, "targets", config.targets, f"{allowed} {site.name}")
    whole = stored_whole(upstream, config)
    deltas = {site.name: SignDelta(startable[site.name].shape, config.scales) for site in sites}
    for site in sites:
        parametrize.register_parametrization(site.module, site.tensor, deltas[site.name])
    signs = {parameter_key(name, "signs"): delta.signs for name, delta in deltas.items()}
    return SignDeltas(
        upstream=upstream,
        trained={parameter_key(n, s): d.get_parameter(s) for n, d in deltas.items() for s in d.scale_names()},
        saved=signs | whole,
        packed=tuple(signs),
        startable=startable,
        deltas=deltas,
    )


def stored_whole(upstream: nn.Module, config: BitdeltaConfig) -> dict[str, nn.Parameter]:
    """The tensors beside the targets that keep their finetuned values, by path; ``upstream`` has no deltas yet."""
    targets = {site.name for site in sites_of(upstream, config.targets)}
    others = {name: p for name, p in finetuned(upstream, config.train_cnn).items() if name not in targets}
    kept = {"start": others, "vectors": {name: p for name, p in others.items() if p.dim() == 1}}
    return kept.get(config.rest, {})
