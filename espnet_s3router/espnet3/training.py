"""Methods in Lightning's training loop: the optimiser with its groups, and a callback that calls the method."""

from collections.abc import Iterable
from typing import Any

import torch
from espnet2.tasks.abs_task import optim_classes, scheduler_classes
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from espnet_s3router.errors import InputError
from espnet_s3router.methods import Attached
from espnet_s3router.plugin.training.log import write_model_description
from espnet_s3router.plugin.training.optimizers import install_step
from espnet_s3router.plugin.training.start_model import start_method

GROUP = "_s3router_group"
"""Attribute of a trained parameter: ``scores`` or ``weights``. Parameters without it belong to the head."""


def optimizer(
    params: Iterable[nn.Parameter],
    name: str = "adam",
    *,
    lr: float,
    head_lr: float | None = None,
    weight_lr: float | None = None,
    **options: Any,
) -> torch.optim.Optimizer:
    """ESPnet's optimiser ``name`` with the groups of the egs2 recipes: scores, weights of the upstream, and the head.

    Raises InputError for an unknown name.
    """
    if name not in optim_classes:
        raise InputError(f"optimizer: name is {name!r}, expected one of {', '.join(optim_classes)}")
    rates = {"scores": lr, "weights": lr if weight_lr is None else weight_lr, "head": lr if head_lr is None else head_lr}
    groups: dict[str, list[nn.Parameter]] = {kind: [] for kind in rates}
    for parameter in params:
        groups[getattr(parameter, GROUP, "head")].append(parameter)
    return optim_classes[name]([{"params": part, "lr": rates[kind]} for kind, part in groups.items() if part], **options)


def scheduler(optimizer: torch.optim.Optimizer, name: str, **options: Any) -> Any:
    """ESPnet's scheduler ``name``. Options that are null are left out: espnet3 adds those of its template to every recipe.

    Raises InputError for an unknown name.
    """
    if name not in scheduler_classes:
        raise InputError(f"scheduler: name is {name!r}, expected one of {', '.join(scheduler_classes)}")
    return scheduler_classes[name](optimizer, **{key: value for key, value in options.items() if value is not None})


class MethodCallback(Callback):
    """Starts the method, and calls it after each update and around each epoch, as ``S3RouterTrainer`` does in espnet2.

    Args:
        exp_dir: where ``model.json`` is written when training ends.
    """

    def __init__(self, exp_dir: str) -> None:
        self.exp_dir = exp_dir

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Start the method and mark its parameters for ``optimizer``. Lightning builds the optimiser after this."""
        model: Any = module.model
        attached = self._attached(module)
        inside = {id(parameter) for parameter in model.frontend.upstream.parameters()}
        for parameter in model.parameters():
            if id(parameter) in inside:
                setattr(parameter, GROUP, "scores" if id(parameter) in attached.scores else "weights")
        if stage == "fit":
            start_method(model)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Call the method after every update from now on."""
        (only,) = trainer.optimizers
        install_step(only, self._attached(module))

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Epochs count from 1."""
        self._attached(module).begin_epoch(trainer.current_epoch + 1)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Validation of the epoch is over then."""
        self._attached(module).end_epoch()

    def on_fit_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Describe the trained model, as the egs2 recipes do."""
        if trainer.is_global_zero:
            write_model_description(module.model, self.exp_dir, trained=True)

    @staticmethod
    def _attached(module: LightningModule) -> Attached:
        attached = getattr(getattr(module.model, "frontend", None), "attached", None)
        if not isinstance(attached, Attached):
            raise InputError("MethodCallback needs a model with frontend: masked_upstream")
        return attached
