"""Checkpoint files that survive a kill, and n-best averages that do not disturb each other."""

import logging
import os
import re
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import espnet2.train.trainer
import torch

from espnet_s3router.errors import InputError
from espnet_s3router.files import replacing_file
from espnet_s3router.plugin.patching import replaced

CHECKPOINT = "checkpoint.pth"
PREVIOUS = "checkpoint.previous.pth"
COMPLETE = ".checkpoint.complete.pth"
"""A complete checkpoint, until the model file of its epoch is complete too."""
AVERAGE = re.compile(r"\.ave_\d+best\.")


def whole_files(finish_average: Callable[[Any], Any] = lambda state: state) -> AbstractContextManager[None]:
    """Within the block, ``torch.save`` to a path writes a temporary file, syncs it and renames it.

    An n-best average passes through ``finish_average`` first. ESPnet saves ``checkpoint.pth`` before the model file of the
    epoch, and a kill between the two would lose that model. So the new checkpoint is renamed only after the next file is
    complete, and the previous checkpoint is kept.
    """
    original = torch.save
    waiting: list[tuple[Path, Path]] = []

    def save(obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(f, str | os.PathLike):
            original(obj, f, *args, **kwargs)
            return
        path = Path(f)
        if AVERAGE.search(path.name):
            obj = finish_average(obj)
        target = path.with_name(COMPLETE) if path.name == CHECKPOINT else path
        for left in path.parent.glob(f".{target.stem}.*.tmp{target.suffix}"):  # by a process that was killed
            left.unlink(missing_ok=True)
        with replacing_file(target) as temporary, temporary.open("wb") as file:
            original(obj, file, *args, **kwargs)
        if path.name == CHECKPOINT:
            waiting[:] = [(target, path)]
            return
        while waiting:
            publish(*waiting.pop())

    return replaced(torch, "save", save)


def publish(complete: Path, path: Path) -> None:
    """Rename a complete checkpoint to ``path`` and keep the previous one."""
    if path.exists():
        os.replace(path, path.with_name(PREVIOUS))
    os.replace(complete, path)


def restore_checkpoint(folder: Path) -> None:
    """Put the previous checkpoint in the place of a missing one; several processes may call this at once."""
    if not (folder / CHECKPOINT).exists() and (folder / PREVIOUS).exists():
        with suppress(FileExistsError):  # another process of this run was faster
            os.link(folder / PREVIOUS, folder / CHECKPOINT)


def intact_checkpoint(checkpoint: str | Path) -> Path:
    """``checkpoint``, or the previous one if that file is damaged; InputError if both are."""
    checkpoint = Path(checkpoint)
    previous = checkpoint.with_name(PREVIOUS)
    if is_intact(checkpoint):
        return checkpoint
    if is_intact(previous):
        logging.warning(f"{checkpoint} is damaged; resuming from the previous checkpoint")
        return previous
    raise InputError(
        f"{checkpoint} is damaged ({checkpoint.stat().st_size} bytes), and there is no intact {PREVIOUS} beside it. Put a "
        f"copy of the file back, or remove {checkpoint.parent} to train anew"
    )


def is_intact(path: Path) -> bool:
    """True if a file of ``torch.save`` is complete, by its checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def separate_averages(read: Callable[[Any], Any] = lambda state: state) -> AbstractContextManager[None]:
    """Within the block, every n-best average is computed separately. ESPnet sums in the tensors of the first model, and uses
    these sums in place of that model for the next average (another criterion, another n). Each model passes through
    ``read`` before it is summed."""
    original = espnet2.train.trainer.average_nbest_models
    load = torch.load

    def average(*, reporter: Any, best_model_criterion: Any, nbest: Any, **kwargs: Any) -> None:
        counts = sorted({nbest} if isinstance(nbest, int) else set(nbest))
        for criterion in best_model_criterion:
            phase, key, mode = criterion
            epochs = len(reporter.sort_epochs_and_values(phase, key, mode)) if reporter.has(phase, key) else 0
            for count in [count for count in counts if count <= epochs] or [1]:
                with replaced(torch, "load", lambda *file, **options: read(load(*file, **options))):
                    original(reporter=reporter, best_model_criterion=[criterion], nbest=[count], **kwargs)

    return replaced(espnet2.train.trainer, "average_nbest_models", average)
