"""ESPnet's trainer with checkpoints that survive a kill, and a log of how the masks move."""

import logging
import os
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import espnet2.train.trainer
import torch
from espnet2.train.trainer import Trainer

from espnet_s3router.methods import Attached
from espnet_s3router.methods.flip_log import HEADER as FLIP_HEADER
from espnet_s3router.methods.flip_log import FlipLog
from espnet_s3router.plugin.training.log import HEADER, write_model_description, write_rows
from espnet_s3router.plugin.training.schedulers import refuse_other_rounds
from espnet_s3router.plugin.training.start_model import UPSTREAM

CHECKPOINT = "checkpoint.pth"
PREVIOUS = "checkpoint.previous.pth"
AVERAGE = re.compile(r"\.ave_\d+best\.")


class S3RouterTrainer(Trainer):
    """``Trainer`` whose files appear whole or not at all, and which lets a method act before and after each epoch."""

    attached: Attached | None = None
    flips: FlipLog | None = None

    @classmethod
    def run(cls, model: Any, *args: Any, **kwargs: Any) -> None:
        """As in ESPnet; see ``whole_files`` for what differs."""
        options = kwargs["trainer_options"]
        cls.attached = getattr(getattr(model, "frontend", None), "attached", None)
        cls.flips = FlipLog(cls.attached.kept) if cls.attached is not None else None
        if cls.flips is not None:
            cls.flips.start()
        refuse_other_rounds(kwargs["schedulers"], getattr(cls.attached, "schedule", None))
        folder = Path(options.output_dir)
        if options.resume and not (folder / CHECKPOINT).exists() and (folder / PREVIOUS).exists():
            with suppress(FileExistsError):  # another process of this run did it
                os.link(folder / PREVIOUS, folder / CHECKPOINT)
        with whole_files(cls.finish_average), separate_averages():
            super().run(model, *args, **kwargs)
        if cls.attached is not None and first_process(kwargs["distributed_option"]):
            if cls.attached.update < cls.attached.settled:
                logging.warning(
                    f"The run ended after {cls.attached.update} updates, but the sparsity was to rise until update "
                    f"{cls.attached.settled}: its files are as sparse as they should be, its weights had no time to adapt"
                )
            write_model_description(model, folder, trained=True)

    @classmethod
    def finish_average(cls, state: dict[str, Any]) -> dict[str, Any]:
        """An average of model files as it is saved: exactly as sparse as each of them."""
        if cls.attached is None:
            return state
        ours = {name: state[UPSTREAM + name] for name in cls.attached.trained if UPSTREAM + name in state}
        cls.attached.finish_average(ours)
        return state | {UPSTREAM + name: tensor for name, tensor in ours.items()}

    @classmethod
    def resume(cls, checkpoint: str | Path, *args: Any, **kwargs: Any) -> None:
        """Resume from ``checkpoint``, or from the one before it if that file is damaged."""
        previous = Path(checkpoint).with_name(PREVIOUS)
        if not zipfile.is_zipfile(checkpoint) and previous.exists():
            logging.warning(f"{checkpoint} is damaged; going on from the checkpoint before it")
            checkpoint = previous
        Trainer.resume(checkpoint, *args, **kwargs)
        if cls.flips is not None:
            cls.flips.mark()

    @classmethod
    def train_one_epoch(cls, *args: Any, **kwargs: Any) -> bool:
        """One epoch, then a row of ``progress.tsv``, the rows of ``masks.tsv`` and a line on how the masks moved."""
        if cls.attached is not None:
            cls.attached.begin_epoch(kwargs["reporter"].epoch)
        for optimizer in kwargs["optimizers"]:
            optimizer.zero_grad()  # what accum_grad left of the epoch before, which a resumed run would not have
        began = time.perf_counter()
        updates = 0

        def count(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            nonlocal updates
            updates += not was_skipped(optimizer)

        hooks = [optimizer.register_step_post_hook(count) for optimizer in kwargs["optimizers"]]
        try:
            stopped = super().train_one_epoch(*args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()
        if cls.attached is not None:
            cls.attached.end_epoch()
        if first_process(kwargs["distributed_option"]):
            epoch, options = kwargs["reporter"].epoch, kwargs["options"]
            row = (epoch, options.max_epoch, updates, time.perf_counter() - began)
            write_rows(Path(options.output_dir) / "progress.tsv", HEADER, epoch, [row])
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
            write_rows(folder / "masks.tsv", FLIP_HEADER, epoch, list(rows))


def was_skipped(optimizer: torch.optim.Optimizer) -> bool:
    """Within a hook after ``step``: whether nothing was updated, as gradients of mixed precision were not finite. GradScaler
    calls fused optimisers all the same, and tells them."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)


def first_process(distributed: Any) -> bool:
    """Whether this process writes the files of a run."""
    return not distributed.distributed or distributed.dist_rank == 0


@contextmanager
def whole_files(finish_average: Callable[[Any], Any] = lambda state: state) -> Iterator[None]:
    """Within the block ``torch.save`` to a path writes a temporary file, syncs it and renames it. An n-best average goes
    through ``finish_average`` before.

    ESPnet saves ``checkpoint.pth`` before the model file of the epoch; a kill between the two would resume after an epoch
    whose model is gone. So the new checkpoint is published only once that file is there, and the old one is kept beside it.
    """
    plain_save = torch.save
    waiting: list[tuple[Path, Path]] = []

    def save(obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(f, str | os.PathLike):
            plain_save(obj, f, *args, **kwargs)
            return
        path = Path(f)
        if AVERAGE.search(path.name):
            obj = finish_average(obj)
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            with temporary.open("wb") as file:
                plain_save(obj, file, *args, **kwargs)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if path.name == CHECKPOINT:
            waiting[:] = [(temporary, path)]
            return
        os.replace(temporary, path)
        while waiting:
            publish(*waiting.pop())

    torch.save = save
    try:
        yield
    finally:
        torch.save = plain_save


@contextmanager
def separate_averages() -> Iterator[None]:
    """Within the block each n-best average is made by itself: ESPnet sums up in the tensors of the first model, which the
    next average (another criterion, another n) takes for that model."""
    plain = espnet2.train.trainer.average_nbest_models

    def average(*, reporter: Any, best_model_criterion: Any, nbest: Any, **kwargs: Any) -> None:
        counts = sorted({nbest} if isinstance(nbest, int) else set(nbest))
        for criterion in best_model_criterion:
            phase, key, mode = criterion
            epochs = len(reporter.sort_epochs_and_values(phase, key, mode)) if reporter.has(phase, key) else 0
            for count in [count for count in counts if count <= epochs] or [1]:
                plain(reporter=reporter, best_model_criterion=[criterion], nbest=[count], **kwargs)

    espnet2.train.trainer.average_nbest_models = average
    try:
        yield
    finally:
        espnet2.train.trainer.average_nbest_models = plain


def publish(temporary: Path, path: Path) -> None:
    """Put a finished checkpoint in place and keep the one before it."""
    if path.exists():
        os.replace(path, path.with_name(PREVIOUS))
    os.replace(temporary, path)
