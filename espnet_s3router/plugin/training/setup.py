"""Set-up of a run, in one order: check, start the method, connect a teacher, build the optimiser, describe the model."""

import argparse
from typing import Any

import torch

from espnet_s3router.methods import METHODS
from espnet_s3router.plugin.distillation import install_distillation
from espnet_s3router.plugin.frontend import FRONTEND_NAME
from espnet_s3router.plugin.masked_hugging_face import attachments
from espnet_s3router.plugin.training.checks import (
    check_preencoder,
    check_resume,
    check_space,
    check_trained_parameters,
)
from espnet_s3router.plugin.training.language_batches import use_language_of_batch
from espnet_s3router.plugin.training.log import write_model_description
from espnet_s3router.plugin.training.optimizers import build_optimizer, install_step
from espnet_s3router.plugin.training.penalty import install_penalty
from espnet_s3router.plugin.training.settings import check_settings
from espnet_s3router.plugin.training.start_model import start_method


def prepare_arguments(args: argparse.Namespace) -> None:
    """Check the arguments before ESPnet builds anything, and set ``unused_parameters`` where several processes need it."""
    if args.frontend == FRONTEND_NAME:
        check_settings(args)
    if getattr(args, "distributed", False) and leaves_unused(args):
        args.unused_parameters = True
    if not (args.dry_run or args.collect_stats):
        check_resume(args)


def set_up_run(task: Any, args: argparse.Namespace, model: Any) -> torch.optim.Optimizer:
    """Set up the run of a built ``model`` and return its optimiser; InputError before anything is written. A dry run and the
    collection of statistics read no start model and no teacher."""
    check_trained_parameters(args, model.frontend)
    check_preencoder(args, model.frontend)
    if not (args.dry_run or args.collect_stats):
        model.frontend.trains_in_bfloat16(torch.device("cuda" if args.ngpu else "cpu"))
        start_method(model, args.init_param)
        install_distillation(task, model)
        install_penalty(model)
        use_language_of_batch(args, model)
    optimizer = build_optimizer(args, model)
    of_frontend, *of_text_models = attachments(model)
    install_step(optimizer, of_frontend, of_text_models)
    if getattr(args, "output_dir", None) and not args.dry_run:
        check_space(model, args.output_dir, args.keep_nbest_models)
        if not args.dist_rank:
            write_model_description(model, args.output_dir)
    return optimizer


def leaves_unused(args: argparse.Namespace) -> bool:
    """True if an update may give some trained tensor no gradient, which DistributedDataParallel must know: layers above a
    chosen one, layers dropped at random, the last norm of a finetuned pre-norm encoder, and masks of other languages."""
    conf: Any = getattr(args, "frontend_conf", None) or {}
    name = (conf.get("mask_conf") or {}).get("method", "")
    rare = name == "pathways" or name in METHODS and METHODS[name].finetunes
    return conf.get("layer", -1) != -1 or conf.get("layerdrop", 0.0) > 0 or rare
