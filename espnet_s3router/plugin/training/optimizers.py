"""The optimiser of a run: its groups of parameters, and its hook that calls the method after every update."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from espnet2.optimizers.optim_groups import add_optimizer_hooks
from espnet2.tasks.abs_task import optim_classes
from torch import distributed, nn

from espnet_s3router.errors import InputError
from espnet_s3router.methods import Attached
from espnet_s3router.plugin.masked_hugging_face import attachments


def build_optimizer(args: argparse.Namespace, model: nn.Module) -> torch.optim.Optimizer:
    """One optimiser with separate groups for scores, weights of the upstream, and the head. ``optim_conf`` may hold
    ``weight_lr`` and ``head_lr`` beside ``lr``, which is their default."""
    options = dict(args.optim_conf)
    if args.exclude_weight_decay:
        add_optimizer_hooks(model, **args.exclude_weight_decay_conf)
        for masked in (masked for attached in attachments(model) for masked in attached.masks.values()):
            for scores in masked.all_scores():
                scores._optim = {"weight_decay": 0.0}  # type: ignore[attr-defined]  # the mark that ESPnet puts on biases
    groups = parameter_groups(model, options) + model.frontend.attached.optimizer_groups()  # type: ignore[union-attr, operator]
    try:
        optimizer = optim_classes[args.optim](groups, **options)
    except (TypeError, ValueError) as error:  # the optimiser refuses a key or a value
        raise InputError(f"optim_conf of {args.optim}: {error}") from error
    check_ascent(optimizer, args.optim)
    return optimizer


def check_ascent(optimizer: torch.optim.Optimizer, name: str) -> None:
    """InputError if a group must ascend, and the optimiser would ignore that."""
    if any(group.get("maximize") for group in optimizer.param_groups) and "maximize" not in optimizer.defaults:
        raise InputError(
            f"optim is {name!r}, which cannot maximise: the Lagrange multipliers of the method would descend. Expected one "
            "of torch's optimisers with the option maximize, such as adam, adamw or sgd"
        )


def parameter_groups(model: Any, options: dict[str, Any]) -> list[dict[str, Any]]:
    """Groups of trained parameters with their learning rates; removes ``weight_lr`` and ``head_lr`` from ``options``. Those
    that ESPnet's ``exclude_weight_decay`` has marked form separate groups without weight decay. Parameters in groups of the
    method itself (``optimizer_groups``) are left out."""
    default = options.get("lr", 1e-3)
    rates = {"scores": default, "weights": options.pop("weight_lr", default), "head": options.pop("head_lr", default)}
    scores = {one for attached in attachments(model) for one in attached.scores}
    separate = {id(parameter) for group in model.frontend.attached.optimizer_groups() for parameter in group["params"]}
    inside = {id(parameter) for attached in attachments(model) for parameter in attached.upstream.parameters()}
    inside |= {id(parameter) for parameter in model.frontend.upstream.parameters()}
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {(name, decays): [] for name in rates for decays in (True, False)}
    for parameter in model.parameters():
        if parameter.requires_grad and id(parameter) not in separate:
            kind = "scores" if id(parameter) in scores else "weights" if id(parameter) in inside else "head"
            groups[kind, not hasattr(parameter, "_optim")].append(parameter)
    return [
        {"params": params, "lr": rates[name]} | ({} if decays else {"weight_decay": 0.0})
        for (name, decays), params in groups.items()
        if params
    ]


def install_step(optimizer: torch.optim.Optimizer, attached: Attached, others: Iterable[Attached] = ()) -> None:
    """Call ``attached.step`` after every real update. The number of updates and the method's state become a part of the
    optimiser's state dict, which ESPnet saves in ``checkpoint.pth`` alone: both continue after a resume.

    ``others``: handles of text models, whose methods have no step. Their masks are selected again, too.
    """
    masks = [masked for one in (attached, *others) for masked in one.masks.values()]
    inside = {id(parameter) for parameter in attached.upstream.parameters()}
    grouped = [parameter for group in attached.optimizer_groups() for parameter in group["params"]]
    outside = [parameter for parameter in grouped if id(parameter) not in inside]

    def before_step(opt: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        average_gradients(outside)

    def after_step(opt: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if was_skipped(opt):
            return
        for masked in masks:
            masked.touch()
        attached.update += 1
        attached.step(attached.update, opt)

    def save(opt: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        return state | {"method": {"update": attached.update, "state": attached.training_state()}}

    def load(opt: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        attached.update = state["method"]["update"]
        attached.load_training_state(state["method"]["state"])

    optimizer.register_step_pre_hook(before_step)
    optimizer.register_step_post_hook(after_step)
    optimizer.register_state_dict_post_hook(save)
    optimizer.register_load_state_dict_pre_hook(load)


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Make the gradients those of all processes of a distributed run. ``DistributedDataParallel`` does it for parameters of
    the model, and a method may train others, such as multipliers: those of the processes would drift apart."""
    if not (parameters and distributed.is_available() and distributed.is_initialized()):
        return
    for parameter in parameters:
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= distributed.get_world_size()


def was_skipped(optimizer: torch.optim.Optimizer) -> bool:
    """In a hook after ``step``: True if nothing was updated, because gradients of mixed precision were not finite. Even then
    GradScaler calls fused optimisers, for which it sets ``found_inf``."""
    found_inf = getattr(optimizer, "found_inf", None)
    return found_inf is not None and bool(found_inf)
