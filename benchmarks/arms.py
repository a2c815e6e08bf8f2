"""The arms of the benchmarks: each is a model with its optimiser, on an upstream of random weights.

The upstream has the dimensions of wav2vec2 base. It is written as an s3prl checkpoint, so nothing is downloaded and a step
runs through the ``MaskedUpstream`` that training uses.
"""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from espnet_s3router.masks import MaskedTensor, zero_count
from espnet_s3router.plugin.frontend import MaskedUpstream

ROUTING = {"method": "routing", "sparsity": 0.1, "targets": "feed_forward"}
PARP = {"method": "parp", "sparsity": 0.5, "interval": 50}
ARMS: dict[str, dict[str, Any]] = {
    "finetune": {"mask_conf": {"method": "finetune"}},
    "finetune_cnn": {"mask_conf": {"method": "finetune", "train_cnn": True}},
    "head_only": {"mask_conf": {"method": "head_only"}},
    "routing": {"mask_conf": ROUTING},
    "routing_candidates": {"mask_conf": {**ROUTING, "candidates": 0.25}},
    "routing_all": {"mask_conf": {**ROUTING, "targets": "all"}},
    "reference": {"mask_conf": {**ROUTING, "rounding": "reference"}},
    "routing_cached": {"mask_conf": ROUTING, "cache_frozen": 256},
    "routing_checkpointed": {"mask_conf": ROUTING, "recompute": True},
    "parp": {"mask_conf": PARP},
    "parp_matrix": {"mask_conf": {**PARP, "ranking": "matrix"}},
    "parp_remask": {"mask_conf": {**PARP, "form": "remask"}},
    "mpi": {"mask_conf": {"method": "mpi", "sparsity": 0.5}},
    "hj": {"mask_conf": {"method": "hj", "sparsity": 0.5, "updates": 1000}},
}
"""Options of ``MaskedUpstream`` by arm."""

VOCABULARY = 32


@dataclass(frozen=True)
class Size:
    """Dimensions of the upstream; the defaults are those of wav2vec2 base."""

    convolutions: str = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2"
    layers: int = 12
    width: int = 768
    feed_forward: int = 3072
    heads: int = 12
    large_style: bool = False
    """layer norms before each block and in the convolutions, as in the large models"""


XLS_R = Size(layers=24, width=1024, feed_forward=4096, heads=16, large_style=True)
"""Dimensions of XLS-R 300M."""
TINY = Size("[(8, 10, 5)] + [(8, 3, 2)] * 4 + [(8, 2, 2)] * 2", layers=2, width=16, feed_forward=32, heads=2)


def write_upstream(path: Path, size: Size) -> None:
    """Save an upstream of random weights in the form that s3prl's ``wav2vec2_custom`` loads."""
    from s3prl.upstream.wav2vec2.wav2vec2_model import Wav2Vec2Config, Wav2Vec2Model

    options: dict[str, Any] = {
        "conv_feature_layers": size.convolutions,
        "encoder_layers": size.layers,
        "encoder_embed_dim": size.width,
        "encoder_ffn_embed_dim": size.feed_forward,
        "encoder_attention_heads": size.heads,
        "final_dim": 256,
    }
    if size.large_style:
        options |= {"extractor_mode": "layer_norm", "layer_norm_first": True, "conv_bias": True}
    torch.manual_seed(0)
    model = Wav2Vec2Model(Wav2Vec2Config(**options))
    torch.save({"task_cfg": {"normalize": False}, "model_cfg": options, "model_weight": model.state_dict()}, path)


class SortedMask(nn.Module):
    """Masking as in the code of S3-Router's authors (arXiv 2211.01522): every forward sorts all magnitudes."""

    def __init__(self, scores: nn.Parameter, sparsity: float) -> None:
        super().__init__()
        self.scores = scores
        self.zeros = zero_count(scores.numel(), sparsity, "reference")

    def forward(self, weight: Tensor) -> Tensor:
        return weight * _SortAndCut.apply(self.scores.abs(), self.zeros)


class _SortAndCut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, magnitude: Tensor, zeros: int) -> Tensor:
        mask = magnitude.clone()
        order = magnitude.flatten().sort().indices
        mask.view(-1)[order[:zeros]] = 0
        mask.view(-1)[order[zeros:]] = 1
        return mask

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class Arm:
    """One training run: frontend, linear CTC head and Adam."""

    def __init__(
        self, name: str, checkpoint: Path, *, batch: int, seconds: float, device: str, autocast: str | None = None
    ) -> None:
        torch.manual_seed(1)
        source = {"upstream": "wav2vec2_custom", "path_or_url": str(checkpoint)}
        self.frontend = MaskedUpstream(frontend_conf=source, autocast=autocast, **ARMS[name]).to(device).train()
        self.head = nn.Linear(self.frontend.output_size(), VOCABULARY, device=device)
        self.attached = self.frontend.attached
        self.attached.begin()
        self.attached.begin_epoch(1)
        if name == "reference":
            self._use_sorted_masks()
        trained = [p for module in (self.frontend, self.head) for p in module.parameters() if p.requires_grad]
        known = {id(parameter) for parameter in trained}
        trained += [p for group in self.attached.optimizer_groups() for p in group["params"] if id(p) not in known]
        self.adam = torch.optim.Adam(trained, lr=5e-5, betas=(0.9, 0.98))
        self.device = device
        self.audio = torch.randn(batch, int(16000 * seconds), device=device)
        self.lengths = torch.full((batch,), self.audio.shape[1], device=device)
        self.text = torch.randint(1, VOCABULARY, (batch, max(1, int(8 * seconds))), device=device)
        self.selection_seconds = 0.0
        """Of the last step."""

    def _use_sorted_masks(self) -> None:
        for module in self.frontend.modules():
            if isinstance(module, nn.ModuleList) and len(module) and isinstance(module[0], MaskedTensor):
                module[0] = SortedMask(module[0].scores, module[0].selector.sparsity)

    @cached_property
    def _masked(self) -> list[MaskedTensor]:
        return list(self.frontend.attached.masks.values())

    def step(self) -> float:
        """Make one update (mask selection, forward, backward, Adam) and return its seconds."""
        start = self.now()
        for masked in self._masked:
            masked.mask  # noqa: B018  selected here to time it; the forward uses the cached mask
        self.selection_seconds = self.now() - start
        features, lengths = self.frontend(self.audio, self.lengths)
        scores = functional.log_softmax(self.head(features), dim=-1).transpose(0, 1)
        text_lengths = torch.full_like(lengths, self.text.shape[1])
        loss = functional.ctc_loss(scores, self.text, lengths, text_lengths, zero_infinity=True)
        added, _ = self.attached.penalty()
        (loss if added is None else loss + added).backward()
        self.adam.step()
        self.adam.zero_grad()
        return self.now() - start

    def now(self) -> float:
        """Return the time in seconds, after all work of the device is done."""
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()


def threads(device: str) -> int:
    """Return the number of threads of this process that compute; on a GPU one thread feeds it."""
    return torch.get_num_threads() if device == "cpu" else 1
