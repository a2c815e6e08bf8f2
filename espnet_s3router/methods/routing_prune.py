"""S3-Router-P: pruning by learned masks (arXiv 2211.01522). The weights of a finetuned model stay as they are; which of them
to keep is learned, beginning from their magnitudes."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from espnet_s3router.masks import Selector
from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.finetune import finetuned
from espnet_s3router.methods.pruning_config import RoutingPruneConfig
from espnet_s3router.methods.routing import initial_scores, routing
from espnet_s3router.methods.schedule import Ramp, between


@dataclass(kw_only=True)
class RoutedPruning(Attached):
    """Learned masks over the weights of a finetuned model, at a sparsity that may rise."""

    options: RoutingPruneConfig
    ramp: Ramp
    targets: dict[Selector, float]
    """The sparsity that each selector ends with."""

    @torch.no_grad()
    def begin(self, start: Mapping[str, Tensor] | None = None, ranked: Mapping[str, Tensor] | None = None) -> None:
        """The scores begin anew, from the weights of ``start``."""
        super().begin(start)
        generator = torch.Generator().manual_seed(self.options.seed)
        parameters = dict(self.upstream.named_parameters())
        paths = [name.rpartition(".") for name in self.masks]
        weights = [parameters[f"{owner}.parametrizations.{tensor}.original"].cpu() for owner, _, tensor in paths]
        for masked, scores in zip(self.masks.values(), initial_scores(weights, self.options, generator), strict=True):
            masked.scores.copy_(scores)
        self._set(0)

    def begin_epoch(self, epoch: int) -> None:
        """At the sparsity that the last due update left."""
        self._set(next((update for update in range(self.update, 0, -1) if self.ramp.due(update)), 0))

    def step(self, update: int, optimizer: torch.optim.Optimizer) -> None:
        if self.ramp.due(update):
            self._set(update)

    def end_epoch(self) -> None:
        """The masks are those of the final sparsity."""
        self._set(self.ramp.last)

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """A checkpoint is of the end of an epoch."""
        self.end_epoch()

    def _set(self, update: int) -> None:
        for selector, target in self.targets.items():
            selector.sparsity = between(self.ramp.initial, target, self.ramp.progress(update))

    def bytes_added(self) -> int:
        """Bytes to store beside the shared base, as for every pruned model: for a masked tensor one bit per weight (rounded
        up) and the weights that are left in fp32, fp32 for every other tensor of the finetuned model."""
        now = {selector: selector.sparsity for selector in self.targets}
        self.end_epoch()
        removed = sum(int((~mask).sum()) for name, mask in self.kept().items() if name in self.startable)
        for selector, sparsity in now.items():
            selector.sparsity = sparsity
        packed = sum(-(-masked.scores.numel() // 8) for masked in self.masks.values())
        return packed + 4 * (sum(parameter.numel() for parameter in self.startable.values()) - removed)


def routing_prune(upstream: nn.Module, config: RoutingPruneConfig) -> RoutedPruning:
    """Trainable scores on every site; the weights of ``start`` stay, and are saved with the scores."""
    dense = finetuned(upstream, config.train_cnn)  # by their plain names, which masking changes
    routed = routing(upstream, config)
    frozen = {name: p for name, p in finetuned(upstream, config.train_cnn).items() if name not in routed.trained}
    ramp = config.ramp(config.sparsity)
    return RoutedPruning(
        upstream=upstream,
        trained=routed.trained,
        saved=routed.saved | frozen,
        startable=dense,
        options=config,
        ramp=ramp,
        settled=ramp.last,
        targets={masked.selector: masked.selector.sparsity for masked in routed.masks.values()},
    )
