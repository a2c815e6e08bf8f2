"""Time and channel masking of the latents, and layer drop, as in the papers' finetuning; the same for every family.

Spans are drawn as in wav2vec 2.0 (arXiv 2006.11477 sec. 4.2 and app. A): about prob * size / length, with overlaps.
``spans: reference`` draws as fairseq's ``compute_mask_indices``, with which the papers train. It masks less.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.upstreams import Family


def span_mask(batch: int, size: int, prob: float, length: int, valid: Tensor | None = None) -> Tensor:
    """Boolean (batch, size), True where masked. ``valid`` (batch,) limits each row to its first entries.

    The number of spans is prob * valid / length, rounded at random. Without overlaps ``prob`` is the masked share.
    """
    mask = torch.zeros(batch, size, dtype=torch.bool)
    for row in range(batch):
        limit = size if valid is None else int(valid[row])
        if limit <= 0:
            continue
        width = min(length, limit)
        spans = int(prob * limit / length + float(torch.rand(())))
        starts = torch.randperm(limit - width + 1)[:spans]
        mask[row, (starts[:, None] + torch.arange(width)).flatten()] = True
    return mask


def reference_span_mask(
    batch: int, size: int, prob: float, length: int, valid: Tensor | None = None, least: int = 0
) -> Tensor:
    """As ``span_mask``, with the rules of fairseq: at least ``least`` spans a row, one number of spans for rows of equal
    length, spans cut at the end of a row, and every row cut at random to the smallest masked count of the batch."""
    limits = [size] * batch if valid is None else [int(limit) for limit in valid]
    padded = any(limit < size for limit in limits)
    common = float(torch.rand(()))
    rows = []
    for limit in limits:
        spans = max(least, int(prob * limit / length + (float(torch.rand(())) if padded else common)))
        starts = torch.randperm(max(limit - length, spans + 1))[:spans]
        masked = (starts[:, None] + torch.arange(length)).flatten().unique()
        rows.append(masked[masked < limit])
    smallest = min(len(masked) for masked in rows)
    mask = torch.zeros(batch, size, dtype=torch.bool)
    for row, masked in enumerate(rows):
        mask[row, masked[torch.randperm(len(masked))[:smallest]]] = True
    return mask


SPANS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "independent": (span_mask, span_mask),
    "reference": (partial(reference_span_mask, least=2), reference_span_mask),
}
"""Option ``spans`` -> functions that choose frames and channels."""


@dataclass(frozen=True, kw_only=True)
class LatentOptions:
    """The options ``frontend_conf: latent_masking``, with the papers' values in parentheses."""

    time_prob: float = 0.0
    """Share of masked frames (0.65 to 0.75)."""
    time_length: int = 10
    """Span in frames (10)."""
    channel_prob: float = 0.0
    """Share of masked channels (0.25 or 0.5)."""
    channel_length: int = 64
    """Span in channels (64)."""
    spans: str = "independent"
    """independent: each row by itself; reference: by the rules of fairseq, as the papers."""
    train_embedding: bool = False
    """Train the vector that replaces masked frames, as the papers; model files then hold it."""

    def __post_init__(self) -> None:
        if self.spans not in SPANS:
            raise InputError(f"latent_masking: spans is {self.spans!r}, expected one of {', '.join(SPANS)}")
        if self.train_embedding and not self.time_prob:
            raise InputError("latent_masking: train_embedding needs masked frames: set time_prob, or remove it")
        for name, value in vars(self).items():
            if name.endswith("_prob") and not 0.0 <= value <= 1.0:
                raise InputError(f"latent_masking: {name} is {value}, expected a share in [0, 1]")
            if name.endswith("_length") and value < 1:
                raise InputError(f"latent_masking: {name} is {value}, expected a whole number from 1")


class LatentMasking:
    """Replaces masked frames by the upstream's mask embedding and zeroes masked channels, while ``active()`` is True."""

    lengths: Tensor | None = None
    """Samples of each utterance in the next batch; the frontend sets it."""

    def __init__(self, expert: nn.Module, family: Family, active: Callable[[], bool], options: LatentOptions) -> None:
        self.options = options
        self.active = active
        self._embedding = dict(expert.named_parameters()).get(family.mask_embedding or "")
        if options.train_embedding and self._embedding is None:
            raise InputError(f"latent_masking: train_embedding: this {family.name} upstream has no mask embedding")
        if options.time_prob or options.channel_prob:
            expert.get_submodule(family.latent).register_forward_hook(self._hook)

    def _hook(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        if not self.active():
            return None
        if isinstance(output, tuple):
            return (self.apply_to(output[0]), *output[1:])
        return self.apply_to(output)

    def apply_to(self, latents: Tensor) -> Tensor:
        """Masked copy of ``latents`` (batch, frames, dim)."""
        options, (batch, frames, dim) = self.options, latents.shape
        valid = None
        if self.lengths is not None and len(self.lengths) == batch:
            valid = (self.lengths.cpu() * frames).div(int(self.lengths.max()), rounding_mode="floor")
        choose_frames, choose_channels = SPANS[options.spans]
        if options.time_prob:
            masked = choose_frames(batch, frames, options.time_prob, options.time_length, valid).to(latents.device)
            embedding = self._embedding
            filler = latents.new_zeros(dim) if embedding is None else embedding.to(latents.dtype)
            latents = torch.where(masked[:, :, None], filler, latents)
        if options.channel_prob:
            masked = choose_channels(batch, dim, options.channel_prob, options.channel_length).to(latents.device)
            latents = latents.masked_fill(masked[:, None, :], 0.0)
        return latents


def add_layerdrop(expert: nn.Module, family: Family, active: Callable[[], bool], prob: float) -> None:
    """Skip each Transformer layer with probability ``prob`` while training (LayerDrop, arXiv 1909.11556).

    A skipped layer returns its input, because s3prl counts the layers that it receives. ``forward`` is wrapped in place, so
    the hooks with which s3prl and transformers collect hidden states see the value that is passed on.
    """
    if not 0.0 <= prob < 1.0:
        raise InputError(f"frontend_conf: layerdrop is {prob}, expected a probability in [0, 1)")
    if not prob:
        return

    def skipping(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        if not active() or float(torch.rand(())) >= prob:
            return output
        hidden = args[0] if args else kwargs.get("hidden_states", kwargs.get("x"))
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    for layer in expert.get_submodule(family.layers).children():
        layer.forward = partial(skipping, layer.forward)
