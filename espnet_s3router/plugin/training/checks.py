"""Checks of settings and of disk space, before training starts."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from espnet2.tasks.abs_task import optim_classes
from torch import nn

from espnet_s3router.errors import InputError


def check_settings(args: argparse.Namespace) -> None:
    """InputError for ESPnet settings that do not work with masks."""
    if args.init == "chainer":
        raise InputError(
            "init is 'chainer', with which ESPnet overwrites a pretrained upstream and does not load it again. "
            "Expected no init, or xavier_uniform, xavier_normal, kaiming_uniform or kaiming_normal"
        )
    if args.train_dtype != "float32":
        raise InputError(
            f"train_dtype is {args.train_dtype!r}, expected float32, the type of scores and weights. For speed: "
            "use_amp: true, or autocast: bfloat16 in frontend_conf"
        )
    if args.ngpu > 1 and not args.multiprocessing_distributed:
        raise InputError(
            f"ngpu is {args.ngpu} in one process, whose copies of the model would not share its masks. Add "
            "--multiprocessing_distributed true"
        )


def check_trainable(frontend: Any) -> None:
    """InputError if ``freeze_param`` froze parameters of the method (scores lie below ``frontend.upstream``)."""
    frozen = [name for name, parameter in frontend.attached.trained.items() if not parameter.requires_grad]
    if frozen:
        raise InputError(
            f"{len(frozen)} parameters that the method trains are frozen, for example {frozen[0]}. Remove freeze_param: "
            "the frontend itself freezes the upstream"
        )


def check_adapter(args: argparse.Namespace, frontend: Any) -> None:
    """InputError for settings that do not work with ESPnet's own adapters."""
    if args.use_adapter and frontend.dropout == "off":
        raise InputError(
            "use_adapter: ESPnet's adapters do nothing in evaluation mode, but dropout: off keeps the upstream in it. "
            "Set dropout: upstream in frontend_conf, or use our methods lora and houlsby"
        )
    if args.use_adapter and args.save_strategy != "all":
        raise InputError(
            f"save_strategy is {args.save_strategy!r}, with which ESPnet omits tensors that loading needs. Expected all: "
            "unchanged weights are not saved anyway"
        )


def check_optimizer(args: argparse.Namespace) -> None:
    """InputError for an unknown optimiser, or a learning rate that is no number."""
    if args.optim not in optim_classes:
        raise InputError(f"optim is {args.optim!r}, expected one of {', '.join(sorted(optim_classes))}")
    for name in ("lr", "weight_lr", "head_lr"):
        value = args.optim_conf.get(name, 0.0)
        if not isinstance(value, int | float):
            raise InputError(f"optim_conf: {name} is {value!r}, expected a number. YAML takes 1e-3 for text: write 1.0e-3")


def check_space(model: nn.Module, folder: str | Path, keep_nbest_models: int | list[int]) -> None:
    """InputError when the disk cannot hold the checkpoints of a run.

    Three checkpoints may exist at once. Each has the optimiser's two moments of the trained parameters, and the values of
    removed weights that a pruning method may store. Model files are one per kept epoch, and the averages.
    """
    kept = max(keep_nbest_models) if isinstance(keep_nbest_models, list) else keep_nbest_models
    saved = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    needed = 3 * (saved + 3 * trained) + (kept + 3) * saved
    place = Path(folder)
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise InputError(
            f"{place} has {free / 2**20:.0f} MiB free, but the checkpoints need about {needed / 2**20:.0f} MiB. "
            "Free some space, lower keep_nbest_models, or choose another --expdir"
        )
