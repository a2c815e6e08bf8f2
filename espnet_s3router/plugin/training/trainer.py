"""ESPnet's trainer, with calls of the method around each epoch, safe checkpoints, and logs of progress and of masks."""

import logging
import time
from pathlib import Path
from typing import Any

import torch
from espnet2.train.trainer import Trainer

from espnet_s3router.methods import Attached
from espnet_s3router.plugin.checkpoint import UPSTREAM_KEYS
from espnet_s3router.plugin.masked_hugging_face import attachments
from espnet_s3router.plugin.training import checkpoint_files
from espnet_s3router.plugin.training.flip_log import HEADER as FLIP_HEADER
from espnet_s3router.plugin.training.flip_log import FlipLog
from espnet_s3router.plugin.training.log import PROGRESS_HEADER, write_model_description, write_rows
from espnet_s3router.plugin.training.optimizers import was_skipped
from espnet_s3router.plugin.training.schedulers import check_rounds
from espnet_s3router.plugin.training.settings import check_accumulation


class S3RouterTrainer(Trainer):
    """``Trainer`` for masked upstreams. Like ESPnet's it is never instantiated: one process trains one model at a time."""

    attached: Attached | None = None
    flips: FlipLog | None = None
    unsigned: frozenset[str] = frozenset()
    """Keys of the scores of the upstream and of text models whose magnitudes are ranked."""
    updates: int = 0
    """Updates since ``run`` was called."""

    @classmethod
    def run(cls, model: Any, *args: Any, **kwargs: Any) -> None:
        """Train, as in ESPnet, and describe the trained model in ``model.json``."""
        options = kwargs["trainer_options"]
        folder = Path(options.output_dir)
        cls.attached = getattr(getattr(model, "frontend", None), "attached", None)
        cls.unsigned = keys_of_unsigned_scores(model)
        cls.flips = FlipLog(cls.attached.kept) if cls.attached is not None else None
        if cls.flips is not None:
            cls.flips.start()
        check_rounds(kwargs["schedulers"], getattr(cls.attached, "schedule", None))
        if options.resume:
            checkpoint_files.restore_checkpoint(folder)
        cls.updates = 0
        for optimizer in kwargs["optimizers"]:
            optimizer.register_step_post_hook(cls.count_update)
        with checkpoint_files.whole_files(cls.finish_average), checkpoint_files.separate_averages(cls.unsigned_scores):
            super().run(model, *args, **kwargs)
        if cls.attached is not None and is_first_process(kwargs["distributed_option"]):
            if cls.attached.update < cls.attached.settled:
                logging.warning(
                    f"The run ended after {cls.attached.update} updates, but the sparsity was to rise until update "
                    f"{cls.attached.settled}. Its files have the target sparsity, but its weights had no time to adapt"
                )
            if shortfall := cls.attached.shortfall():
                logging.warning(shortfall)
            write_model_description(model, folder, trained=True)

    @classmethod
    def count_update(cls, optimizer: torch.optim.Optimizer, *unused: Any) -> None:
        """Step hook: counts real updates."""
        cls.updates += not was_skipped(optimizer)

    @classmethod
    def unsigned_scores(cls, state: dict[str, Any]) -> dict[str, Any]:
        """A model file with the magnitudes of its scores, for an average. Where magnitudes are ranked, signs are arbitrary,
        and scores of opposite signs would cancel out."""
        return {key: tensor.abs() if key in cls.unsigned else tensor for key, tensor in state.items()}

    @classmethod
    def finish_average(cls, state: dict[str, Any]) -> dict[str, Any]:
        """Make an average of model files as sparse as each of them."""
        if cls.attached is None:
            return state
        names = [name for name in cls.attached.trained if UPSTREAM_KEYS + name in state]
        trained = {name: state[UPSTREAM_KEYS + name] for name in names}
        cls.attached.finish_average(trained)
        return state | {UPSTREAM_KEYS + name: tensor for name, tensor in trained.items()}

    @classmethod
    def resume(cls, checkpoint: str | Path, *args: Any, **kwargs: Any) -> None:
        """Resume from ``checkpoint``, or from the previous one if that file is damaged."""
        Trainer.resume(checkpoint_files.intact_checkpoint(checkpoint), *args, **kwargs)
        if cls.flips is not None:
            cls.flips.mark()

    @classmethod
    def train_one_epoch(cls, *args: Any, **kwargs: Any) -> bool:
        """Train one epoch, then add its rows to ``progress.tsv`` and ``masks.tsv``."""
        epoch, options, batches = kwargs["reporter"].epoch, kwargs["options"], kwargs["iterator"]
        if hasattr(batches, "__len__"):
            check_accumulation(options.accum_grad, len(batches))
        if cls.attached is not None:
            cls.attached.begin_epoch(epoch)
        for optimizer in kwargs["optimizers"]:
            optimizer.zero_grad()  # the rest of the last epoch's gradient accumulation, which a resumed run would lack
        start, updates = time.perf_counter(), cls.updates
        stopped = super().train_one_epoch(*args, **kwargs)
        if cls.attached is not None:
            cls.attached.end_epoch()
        if is_first_process(kwargs["distributed_option"]):
            row = (epoch, options.max_epoch, cls.updates - updates, time.perf_counter() - start)
            write_rows(Path(options.output_dir) / "progress.tsv", PROGRESS_HEADER, epoch, [row])
            cls._log_flips(epoch, Path(options.output_dir))
        return stopped

    @classmethod
    def _log_flips(cls, epoch: int, folder: Path) -> None:
        rows = cls.flips.rows(epoch) if cls.flips is not None else []
        if rows:
            _, _, sparsity, since_last, since_start = rows[-1]
            logging.info(
                f"masks: sparsity {sparsity:.4f}, flipped {since_last:.3%} of the bits in this epoch, "
                f"{since_start:.3%} since the start"
            )
            write_rows(folder / "masks.tsv", FLIP_HEADER, epoch, rows)


def keys_of_unsigned_scores(model: Any) -> frozenset[str]:
    """Keys, in the model's state dict, of all scores whose magnitudes are ranked."""
    masks = [masked for attached in attachments(model) for masked in attached.masks.values()]
    unsigned = {id(scores) for masked in masks if masked.estimator != "signed" for scores in masked.all_scores()}
    return frozenset(name for name, one in model.named_parameters(remove_duplicate=False) if id(one) in unsigned)


def is_first_process(distributed: Any) -> bool:
    """True in the process that writes the files of a run."""
    return not distributed.distributed or distributed.dist_rank == 0
