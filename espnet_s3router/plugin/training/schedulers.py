"""A learning-rate schedule for runs of several rounds."""

from collections.abc import Iterable
from typing import Any

import torch
from espnet2.schedulers.tristage_lr import TristageLR

from espnet_s3router.errors import InputError
from espnet_s3router.methods.schedule import Rounds

SCHEDULER = "tristagelr_rounds"


class TristageRounds(TristageLR):
    """ESPnet's ``tristagelr`` once per round of ``imp``: weights that return to their pretrained values need a whole
    schedule again, not the low rates at the end of one (Frankle and Carbin, arXiv 1803.03635 sec. 2).

    Args:
        max_steps: updates of the whole run.
        rounds: as in the method's ``mask_conf``; each has ``max_steps / rounds`` updates.
        others: as for ``tristagelr``, ratios within a round.
    """

    last_epoch: int

    def __init__(self, optimizer: torch.optim.Optimizer, max_steps: int = 25000, rounds: int = 1, **others: Any):
        if not 1 <= rounds <= max_steps:
            raise InputError(f"scheduler_conf: rounds is {rounds}, expected 1 to max_steps, which is {max_steps}")
        self.starts = (0, *Rounds(target=0.0, rounds=rounds, updates=max_steps).starts)
        super().__init__(optimizer, max_steps // rounds, **others)

    def get_lr(self) -> list[float]:
        updates = self.last_epoch
        self.last_epoch = updates - max(start for start in self.starts if start <= updates)
        try:
            return super().get_lr()
        finally:
            self.last_epoch = updates


def check_rounds(schedulers: Iterable[Any], schedule: Any) -> None:
    """InputError when the rounds of a learning rate differ from those of the method's pruning ``schedule``."""
    starts = (0, *schedule.starts) if isinstance(schedule, Rounds) else (0,)
    for scheduler in schedulers:
        if isinstance(scheduler, TristageRounds) and scheduler.starts != starts:
            raise InputError(
                f"scheduler: {SCHEDULER} starts again after {scheduler.starts[1:]} updates, but the method prunes after "
                f"{starts[1:]}: set rounds in scheduler_conf as in mask_conf, and max_steps to its updates"
            )
