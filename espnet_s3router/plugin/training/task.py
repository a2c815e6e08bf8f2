"""ESPnet's tasks for masked upstreams.

They are subclasses, not patches: multi-GPU runs pickle ``Task.main_worker`` by reference into spawned processes. Importing
this module there registers the frontend, too.
"""

import argparse
import logging
from typing import Any

import torch
from espnet2.tasks.asr import ASRTask
from espnet2.tasks.slu import SLUTask
from torch import nn

from espnet_s3router.errors import InputError, summary
from espnet_s3router.plugin.frontend import MaskedUpstream
from espnet_s3router.plugin.training.language_batches import give_heads
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
    def build_model(cls, args: argparse.Namespace) -> Any:
        """ESPnet's model. Its classes raise many types for keys and values that they do not accept. In training these become
        an InputError; whoever loads a model names the file."""
        try:
            model = super().build_model(args)  # type: ignore[misc]
            give_heads(model)
            return model
        except (InputError, AttributeError, OSError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if not hasattr(args, "iterator_type"):  # an option of training
                raise
            logging.info("building the model failed", exc_info=True)
            raise InputError(
                f"ESPnet cannot build this model: {summary(error)}. Check the keys and values of encoder_conf, model_conf "
                "and the other blocks"
            ) from error

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

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """ESPnet's SLU model lacks an option of its ASR model, ``autocast_frontend``: its frontend computes in float32."""
        if args.model_conf.pop("autocast_frontend", False):
            logging.info("model_conf: autocast_frontend is left out, ESPnet's SLU model does not have it")
        super().main_worker(args)
