"""ESPnet's tasks for masked upstreams.

They are subclasses, not patches: multi-GPU runs pickle ``Task.main_worker`` by reference into spawned processes. Importing
this module there registers the frontend, too.
"""

import argparse

import torch
from espnet2.tasks.asr import ASRTask
from espnet2.tasks.slu import SLUTask
from torch import nn

from espnet_s3router.plugin.frontend import MaskedUpstream
from espnet_s3router.plugin.training.setup import prepare_arguments, set_up_run
from espnet_s3router.plugin.training.trainer import S3RouterTrainer


class _MaskedUpstreamTask:
    """The methods that both tasks override."""

    trainer = S3RouterTrainer

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        prepare_arguments(args)
        super().main_worker(args)  # type: ignore[misc]

    @classmethod
    def build_optimizers(cls, args: argparse.Namespace, model: nn.Module) -> list[torch.optim.Optimizer]:
        """Set up the run: ESPnet calls this method between building the model and writing the first file."""
        if not isinstance(getattr(model, "frontend", None), MaskedUpstream):
            return super().build_optimizers(args, model)  # type: ignore[misc]
        return [set_up_run(cls, args, model)]


class S3RouterASRTask(_MaskedUpstreamTask, ASRTask):
    """Speech recognition with a masked upstream."""


class S3RouterSLUTask(_MaskedUpstreamTask, SLUTask):
    """Spoken language understanding with a masked upstream."""
