"""ESPnet's tasks with our hooks: learning rates per group, the method's step, checks before the start, safe checkpoints.

A subclass, not a patch, because ESPnet pickles ``Task.main_worker`` by reference into the processes of multi-GPU runs:
importing this module there registers the frontend.
"""

import argparse
from typing import Any

import torch
from espnet2.optimizers.optim_groups import add_optimizer_hooks
from espnet2.tasks.abs_task import optim_classes
from espnet2.tasks.asr import ASRTask
from espnet2.tasks.slu import SLUTask
from torch import nn

import espnet_s3router.plugin  # noqa: F401  registers the frontend, in spawned processes too
from espnet_s3router.errors import InputError
from espnet_s3router.methods import METHODS, Attached
from espnet_s3router.plugin.distillation import install_distillation
from espnet_s3router.plugin.frontend import MaskedUpstream
from espnet_s3router.plugin.training.checks import check_resume, check_space
from espnet_s3router.plugin.training.log import write_model_description
from espnet_s3router.plugin.training.start_model import begin_training
from espnet_s3router.plugin.training.trainer import S3RouterTrainer, was_skipped


class _Hooks:
    """What both tasks add to ESPnet's."""

    trainer = S3RouterTrainer

    @classmethod
    def build_optimizers(cls, args: argparse.Namespace, model: nn.Module) -> list[torch.optim.Optimizer]:
        """One optimiser with a group each for scores, weights of the upstream and the head.

        ``optim_conf`` may hold ``weight_lr`` and ``head_lr`` beside ``lr``; both default to it.
        """
        frontend = getattr(model, "frontend", None)
        if not isinstance(frontend, MaskedUpstream):
            return super().build_optimizers(args, model)  # type: ignore[misc]
        check_trainable(frontend)
        if args.use_adapter and frontend.dropout == "off":
            raise InputError(
                "use_adapter: ESPnet's adapters rest in evaluation mode, in which dropout: off keeps the upstream. "
                "Set dropout: upstream in frontend_conf, or use our methods lora and houlsby"
            )
        if args.use_adapter and args.save_strategy != "all":
            raise InputError(
                f"save_strategy is {args.save_strategy!r}, with which ESPnet leaves out of the files what loading them here "
                "needs. Expected all: what does not change is not saved anyway"
            )
        options = dict(args.optim_conf)
        if args.optim not in optim_classes:
            raise InputError(f"optim is {args.optim!r}, expected one of {', '.join(sorted(optim_classes))}")
        for name in ("lr", "weight_lr", "head_lr"):
            if not isinstance(options.get(name, 0.0), int | float):
                raise InputError(
                    f"optim_conf: {name} is {options[name]!r}, expected a number. YAML takes 1e-3 for text: write 1.0e-3"
                )
        if not (args.dry_run or args.collect_stats):
            begin_training(model, args.init_param)
            install_distillation(cls, model)
        if args.exclude_weight_decay:
            add_optimizer_hooks(model, **args.exclude_weight_decay_conf)
        groups = parameter_groups(model, options)
        try:
            optimizer = optim_classes[args.optim](groups, **options)
        except (TypeError, ValueError) as error:  # of a key or value that this optimiser does not take
            raise InputError(f"optim_conf of {args.optim}: {error}") from error
        install_step(optimizer, frontend.attached)
        if getattr(args, "output_dir", None) and not args.dry_run:
            check_space(model, args.output_dir, args.keep_nbest_models)
            if not args.dist_rank:
                write_model_description(model, args.output_dir)
        return [optimizer]

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        if args.frontend == "masked_upstream":
            check_settings(args)
        if getattr(args, "distributed", False) and leaves_unused(args):
            args.unused_parameters = True
        if not (args.dry_run or args.collect_stats):
            check_resume(args)
        super().main_worker(args)  # type: ignore[misc]


def check_settings(args: argparse.Namespace) -> None:
    """InputError for settings of ESPnet's that masks do not work with."""
    if args.init == "chainer":
        raise InputError(
            "init is 'chainer', with which ESPnet overwrites a pretrained upstream and does not load it again. "
            "Expected no init, or xavier_uniform, xavier_normal, kaiming_uniform or kaiming_normal"
        )
    if args.train_dtype != "float32":
        raise InputError(
            f"train_dtype is {args.train_dtype!r}, expected float32, which scores and weights are in. For speed: "
            "use_amp: true, or autocast: bfloat16 in frontend_conf"
        )
    if args.ngpu > 1 and not args.multiprocessing_distributed:
        raise InputError(
            f"ngpu is {args.ngpu} in one process, whose copies of the model would not share its masks. Add "
            "--multiprocessing_distributed true"
        )


def leaves_unused(args: argparse.Namespace) -> bool:
    """Whether an update may give some trained tensor no gradient, which DDP must be told: layers above a chosen one or
    dropped at random, and the last norm when the weights of a pre-norm encoder are finetuned."""
    conf = getattr(args, "frontend_conf", None) or {}
    method = METHODS.get((conf.get("mask_conf") or {}).get("method"))
    finetunes = method is not None and method.finetunes
    return conf.get("layer", -1) != -1 or conf.get("layerdrop", 0.0) > 0 or finetunes


def parameter_groups(model: nn.Module, options: dict[str, Any]) -> list[dict[str, Any]]:
    """Groups of trained parameters with their learning rates; takes ``weight_lr`` and ``head_lr`` out of ``options``.
    What ESPnet has marked as not decaying (``exclude_weight_decay``) is in groups of its own."""
    frontend: MaskedUpstream = model.frontend  # type: ignore[assignment]
    default = options.get("lr", 1e-3)
    rates = {"scores": default, "weights": options.pop("weight_lr", default), "head": options.pop("head_lr", default)}
    scores = {id(masked.scores) for masked in frontend.attached.masks.values()}
    inside = {id(parameter) for parameter in frontend.upstream.parameters()}
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {(name, decays): [] for name in rates for decays in (True, False)}
    for parameter in model.parameters():
        if parameter.requires_grad:
            kind = "scores" if id(parameter) in scores else "weights" if id(parameter) in inside else "head"
            groups[kind, not hasattr(parameter, "_optim")].append(parameter)
    return [
        {"params": params, "lr": rates[name]} | ({} if decays else {"weight_decay": 0.0})
        for (name, decays), params in groups.items()
        if params
    ]


def check_trainable(frontend: MaskedUpstream) -> None:
    """What the method trains must not have been frozen by ``freeze_param`` (``frontend.upstream`` holds the scores too)."""
    frozen = [name for name, parameter in frontend.attached.trained.items() if not parameter.requires_grad]
    if frozen:
        raise InputError(
            f"{len(frozen)} parameters that the method trains are frozen, for example {frozen[0]}. Remove freeze_param: "
            "the frontend freezes the upstream by itself"
        )


def install_step(optimizer: torch.optim.Optimizer, attached: Attached) -> None:
    """Call ``attached.step`` after every real update. Its state and the number of updates travel in the state dict of the
    optimiser, which is in ESPnet's ``checkpoint.pth`` and in no model file, so both go on after a resume."""
    masks = list(attached.masks.values())

    def after(opt: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
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

    optimizer.register_step_post_hook(after)
    optimizer.register_state_dict_post_hook(save)
    optimizer.register_load_state_dict_pre_hook(load)


class S3RouterASRTask(_Hooks, ASRTask):
    """Speech recognition with a masked upstream."""


class S3RouterSLUTask(_Hooks, SLUTask):
    """Spoken language understanding with a masked upstream."""
