"""What a method is to a training run: the handle that the trainer calls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.masks import Candidates, MaskedTensor, masked_tensors
from espnet_s3router.masks.names import original_key
from espnet_s3router.methods.schedule import Schedule
from espnet_s3router.upstreams.structure import Widths


@dataclass(kw_only=True)
class Attached:
    """Handle of a method on one upstream. A method that acts during training subclasses it.

    The life of a run, in order:

    1. ``attach`` (see ``table``) freezes the upstream, changes it in place and returns this handle.
    2. ``begin`` is called once, also in a run that resumes.
    3. A run that resumes loads its model. Then ``load_training_state`` receives what ``training_state`` returned.
    4. Every epoch calls ``begin_epoch``, then ``penalty`` for each batch and ``step`` after each optimiser step, then
       ``end_epoch``. The model is validated and saved after that, together with ``training_state``.
    5. Averages of checkpoints pass through ``finish_average`` before they are saved.

    Decoding takes the first step only, then loads a checkpoint, which holds everything that was learned.
    """

    upstream: nn.Module
    trained: dict[str, nn.Parameter]
    """Every parameter of the upstream that the method trains, by path."""
    saved: dict[str, nn.Parameter] = field(default_factory=dict)
    """Frozen parameters that a checkpoint needs too, by path: scores of fixed masks, weights that came from ``start``."""
    packed: tuple[str, ...] = ()
    """Paths of saved parameters that hold bytes: whole numbers from 0 to 255."""
    startable: dict[str, nn.Parameter] = field(default_factory=dict)
    """Parameters that a finetuned model (option ``start``) replaces, by their path in a plain upstream."""
    start_may_lack: frozenset[str] = frozenset()
    """Keys of ``startable`` that the finetuned model may leave at their pretrained values."""
    schedule: Schedule | None = None
    """When a method prunes, and to which sparsity. None where the sparsity never changes."""
    candidates: Candidates | None = None
    """The rule that names the weights which masks may remove. None if all may be removed."""
    method: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    """Every option with its value, defaults included."""
    update: int = 0
    """Number of optimiser steps so far. The caller of ``step`` counts them."""

    def __post_init__(self) -> None:
        for parameters, trains in ((self.trained, True), (self.saved, False)):
            for parameter in parameters.values():
                parameter.requires_grad_(trains)

    @property
    def masks(self) -> dict[str, MaskedTensor]:
        """Masked tensors by path, empty for methods without masks."""
        return masked_tensors(self.upstream)

    @property
    def scores(self) -> set[int]:
        """Identities (``id``) of the scores of all masks, which are no weights."""
        return {id(scores) for masked in self.masks.values() for scores in masked.all_scores()}

    @property
    def settled(self) -> int:
        """The update from which the sparsity stays constant."""
        return self.schedule.last if self.schedule is not None else 0

    def kept(self) -> dict[str, Tensor]:
        """Boolean masks by the path of their tensor, True for weights in use. Empty for methods without sparsity."""
        return {name: masked.mask for name, masked in self.masks.items()}

    def weights(self) -> dict[str, Tensor]:
        """The masked or pruned tensors by path, without their masks."""
        parameters = dict(self.upstream.named_parameters())
        return {name: parameters.get(original_key(name), parameters.get(name)) for name in self.kept()}  # type: ignore[misc]

    def begin(self, start: Mapping[str, Tensor] | None = None, saliency: Mapping[str, Tensor] | None = None) -> None:
        """Prepare the first update.

        Args:
            start: a tensor for every key of ``startable`` (but ``start_may_lack``), from option ``start``.
            saliency: a tensor for every key of ``kept``, from option ``initial_mask``. The first mask keeps the largest
                magnitudes.
        """
        with torch.no_grad():
            for name, tensor in (start or {}).items():
                self.startable[name].copy_(tensor)

    def begin_epoch(self, epoch: int) -> None:
        """Prepare training of epoch number ``epoch`` (from 1)."""

    def penalty(self) -> tuple[Tensor | None, dict[str, Tensor]]:
        """(a scalar that is added to the task's loss of each batch in training, numbers for the log by name). None: nothing
        is added."""
        return None, {}

    def optimizer_groups(self) -> list[dict[str, Any]]:
        """Groups of parameters with settings of their own, as PyTorch's optimisers take them: ``lr``, or ``maximize`` for
        parameters that ascend. Parameters outside the upstream belong here too, and into ``training_state``."""
        return []

    def shortfall(self) -> str:
        """What the training of a finished run did not reach, as a sentence for the log. Empty if there is nothing to say."""
        return ""

    def widths(self) -> Widths | None:
        """Units that each structure of the upstream keeps in evaluation. None for methods that remove no units."""
        return None

    def step(self, update: int, optimizer: torch.optim.Optimizer) -> None:
        """Act after optimiser step number ``update`` (from 1). Steps that mixed precision skips are not counted."""

    def end_epoch(self) -> None:
        """Bring the model into the state that is validated and saved. It stays so until ``begin_epoch``."""

    def training_state(self) -> dict[str, Tensor]:
        """What a resumed run needs beside the model and the state of the optimiser."""
        return {}

    def training_state_bytes(self) -> int:
        """The most bytes that ``training_state`` may take."""
        return 0

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore the result of ``training_state``, after the model was loaded."""

    def finish_average(self, tensors: dict[str, Tensor]) -> None:
        """Restore the exact sparsity of averaged checkpoints, in place. ``tensors`` has the keys of ``trained``."""

    def bytes_added(self) -> int:
        """Bytes to store beside the shared base: a bitmap per mask (of its candidates), one byte for each number of
        ``packed``, and fp32 for every other number except removed weights."""
        masks = self.masks
        scores = self.scores
        stored = {name: p.numel() for name, p in (self.trained | self.saved).items() if id(p) not in scores}
        packed = sum(stored.pop(name) for name in self.packed)
        bits = [masks[name].choices if name in masks else mask.numel() for name, mask in self.kept().items()]
        return sum(map(bitmap_bytes, bits)) + packed + 4 * (sum(stored.values()) - self.removed())

    def removed(self) -> int:
        """How many of the stored weights are zero at the end of the run."""
        return 0


def bitmap_bytes(entries: int) -> int:
    """Bytes of one bit per entry, rounded up."""
    return -(-entries // 8)
