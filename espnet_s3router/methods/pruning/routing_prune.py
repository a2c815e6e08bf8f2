"""S3-Router-P: pruning by learned masks (arXiv 2211.01522).

The weights of a finetuned model stay frozen. Training learns which of them to keep, starting from their magnitudes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from espnet_s3router.masks import Selector, masked_tensors
from espnet_s3router.methods.finetune import finetuned
from espnet_s3router.methods.learned_masks import LearnedMaskConfig, Routed, learn_masks
from espnet_s3router.methods.options import check_path, require_start
from espnet_s3router.methods.schedule import Ramp, ScheduleOptions, between


@dataclass(frozen=True, kw_only=True)
class RoutingPruneConfig(ScheduleOptions, LearnedMaskConfig):
    """S3-Router-P: trains scores on attention and feed-forward of a finetuned model (``start``)."""

    targets: str | tuple[str, ...] = "all"
    """As for ``routing``."""
    init: str = "magnitude"
    """As for ``routing``; magnitude is W / scale."""
    train_cnn: bool = False
    """Set this if the run that ``start`` comes from trained the convolutional frontend."""
    start: str | None = None
    """Model file of a finished run of method ``finetune`` on the same upstream."""
    initial_sparsity: float | None = None
    """Sparsity at the start of a ramp; 0 by default. At 0 the scores move without any effect. With frozen weights use a
    higher value, such as 0.5, or a short ``interval``."""

    @property
    def first_sparsity(self) -> float:
        return self.ramp(self.sparsity).at(0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_path("start", self.start)
        require_start(self.start)
        self.check_schedule(self.sparsity, self.ranking)
        self.refuse_idle_mask(self.initial_mask)
        self.refuse_idle_interval()


@dataclass(kw_only=True)
class RoutedPruning(Routed):
    """Learned masks over the weights of a finetuned model. The sparsity may rise."""

    schedule: Ramp
    targets: dict[Selector, float]
    """The sparsity of each selector at the end of the run."""

    @torch.no_grad()
    def begin(self, start: Mapping[str, Tensor] | None = None, saliency: Mapping[str, Tensor] | None = None) -> None:
        super().begin(start, saliency)
        self._set_sparsity(0)

    def begin_epoch(self, epoch: int) -> None:
        """Returns to the sparsity of the last due update."""
        self._set_sparsity(next((update for update in range(self.update, 0, -1) if self.schedule.due(update)), 0))

    def step(self, update: int, optimizer: torch.optim.Optimizer) -> None:
        if self.schedule.due(update):
            self._set_sparsity(update)

    def end_epoch(self) -> None:
        """Sets the final sparsity."""
        self._set_sparsity(self.schedule.last)

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """A checkpoint holds the model at the end of an epoch."""
        self.end_epoch()

    def _set_sparsity(self, update: int) -> None:
        for selector, target in self.targets.items():
            selector.sparsity = between(self.schedule.initial, target, self.schedule.progress(update))

    def removed(self) -> int:
        before = {selector: selector.sparsity for selector in self.targets}
        self.end_epoch()
        count = sum(int((~mask).sum()) for name, mask in self.kept().items() if name in self.startable)
        for selector, sparsity in before.items():
            selector.sparsity = sparsity
        return count


def routing_prune(upstream: nn.Module, config: RoutingPruneConfig) -> RoutedPruning:
    """Train scores on every site. The weights of ``start`` stay frozen and are saved with the scores."""
    startable = finetuned(upstream, config.train_cnn)  # before masking changes their names
    learned = learn_masks(upstream, config)
    frozen = {name: p for name, p in finetuned(upstream, config.train_cnn).items() if name not in learned.trained}
    return RoutedPruning(
        upstream=upstream,
        trained=learned.trained,
        saved=learned.saved | frozen,
        startable=startable,
        options=config,
        schedule=config.ramp(config.sparsity),
        targets={masked.selector: masked.selector.sparsity for masked in masked_tensors(upstream).values()},
    )
