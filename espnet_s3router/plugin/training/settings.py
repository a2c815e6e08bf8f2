"""Checks of a run's settings, before ESPnet builds anything: values that ESPnet would refuse late, or with a traceback."""

import argparse
from pathlib import Path

import torch
from espnet2.tasks.abs_task import scheduler_classes

from espnet_s3router.devices import check_gpus
from espnet_s3router.errors import InputError, summary
from espnet_s3router.plugin.model_file import config_beside
from espnet_s3router.text_files import read_tokens
from espnet_s3router.text_format import refuse_numbers_as_text


def check_settings(args: argparse.Namespace) -> None:
    """InputError for settings that do not work, with masks or at all."""
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
    check_gpus(args.ngpu)
    refuse_numbers_as_text({name: value for name, value in vars(args).items() if name.endswith("_conf")})
    if args.num_iters_per_epoch:
        check_accumulation(args.accum_grad, args.num_iters_per_epoch)
    check_scheduler(args)
    if not args.collect_stats:
        check_statistics(args)
    for parameters in args.init_param:
        check_initial_tokens(parameters, args)


def check_accumulation(accum_grad: int, iterations: int) -> None:
    """InputError if an epoch of so many batches would end before its first update."""
    if accum_grad > iterations:
        raise InputError(
            f"accum_grad is {accum_grad}, but an epoch has {iterations} batches, so nothing would be updated. "
            f"Set accum_grad to {iterations} or less, or make the batches smaller (batch_bins, batch_size)"
        )


def check_scheduler(args: argparse.Namespace) -> None:
    """InputError for an unknown scheduler, and for a key or a value that it refuses."""
    if args.scheduler is None:
        return
    if args.scheduler not in scheduler_classes:
        raise InputError(f"scheduler is {args.scheduler!r}, expected one of {', '.join(sorted(scheduler_classes))}")
    probe = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    try:
        scheduler_classes[args.scheduler](probe, **(args.scheduler_conf or {}))
    except InputError:
        raise
    except Exception as error:  # typeguard and the schedulers raise many types
        raise InputError(f"scheduler_conf of {args.scheduler}: {summary(error)}") from error


def check_statistics(args: argparse.Namespace) -> None:
    """InputError if ``global_mvn`` has no statistics of features."""
    if args.normalize != "global_mvn":
        return
    file = (args.normalize_conf or {}).get("stats_file")
    if file is None or not Path(file).exists():
        raise InputError(
            f"normalize is global_mvn, but its stats_file is {file!r}, and there is no such file. With "
            "extract_feats_in_collect_stats: false no features are counted. Set normalize: utterance_mvn "
            "(--feats_normalize utterance_mvn in ESPnet's asr.sh) or null, or extract features in stage 10"
        )


def check_initial_tokens(parameters: str, args: argparse.Namespace) -> None:
    """InputError if ``init_param`` takes the head of a model with other tokens, or names no file.

    ``parameters`` is FILE:SOURCE:TARGET:EXCLUDED, all but FILE optional. The tokens are in the config.yaml beside FILE.
    """
    file, source, _, excluded = (parameters.split(":") + 4 * [""])[:4]
    if not Path(file).is_file():
        raise InputError(f"init_param is {parameters!r}, and there is no file {file}. Expected a model file (.pth)")
    theirs, ours = config_beside(file).get("token_list"), args.token_list
    if isinstance(ours, str):
        ours = read_tokens(ours)
    heads = ["ctc"] if (args.model_conf or {}).get("ctc_weight") == 1.0 else ["ctc", "decoder"]
    left_out = [part.split(".")[0] for part in excluded.split(",")]
    taken = [head for head in heads if source.split(".")[0] in ("", head) and head not in left_out]
    if taken and isinstance(theirs, list) and theirs != list(ours or []):
        raise InputError(
            f"init_param: {file} has other tokens than this run, or in another order: {len(theirs)} there, "
            f"{len(ours or [])} here. Leave its head out with {file}:::{','.join(heads)}, or use its token list"
        )
