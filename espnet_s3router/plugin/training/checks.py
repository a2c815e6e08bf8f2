"""Checks before training starts: settings, disk space, and whether a resumed run is the old one."""

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

import yaml
from espnet2.tasks.abs_task import optim_classes

from espnet_s3router.errors import InputError
from espnet_s3router.files import read_yaml
from espnet_s3router.plugin.training.checkpoint_files import CHECKPOINT, PREVIOUS
from espnet_s3router.text_files import read_tokens

# Options that may change on resuming: they say where and how fast a run goes, not what it learns. The lines of the token
# lists are compared instead of their paths.
_FREE = {
    "config", "print_config", "log_level", "dry_run", "iterator_type", "output_dir", "ngpu", "num_workers", "resume",
    "max_epoch", "log_interval", "use_tensorboard", "use_matplotlib", "use_wandb", "keep_nbest_models", "version",
    "nbest_averaging_interval", "num_att_plot", "multiprocessing_distributed", "distributed", "local_rank", "dist_rank",
    "dist_world_size", "dist_backend", "dist_init_method", "dist_master_addr", "dist_master_port", "dist_launcher",
    "dist_init_timeout", "dist_shutdown_timeout", "valid_max_cache_size", "max_cache_size", "max_cache_fd", "patience",
    "required", "token_list", "transcript_token_list", "train_dtype", "cudnn_benchmark",
}  # fmt: skip
_COPIED = ("transcript_token_list", "two_pass", "pre_postencoder_norm")  # ESPnet's SLU copies these into model_conf


def check_trained_parameters(args: argparse.Namespace, frontend: Any) -> None:
    """InputError for frozen parameters that the method trains, and for an unusable optimiser or adapter."""
    frozen = [name for name, parameter in frontend.attached.trained.items() if not parameter.requires_grad]
    if frozen:  # scores lie below frontend.upstream, which s3prl recipes of ESPnet freeze
        raise InputError(
            f"{len(frozen)} parameters that the method trains are frozen, for example {frozen[0]}. Remove freeze_param: "
            "the frontend itself freezes the upstream"
        )
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
    if args.optim not in optim_classes:
        raise InputError(f"optim is {args.optim!r}, expected one of {', '.join(sorted(optim_classes))}")
    for name in ("lr", "weight_lr", "head_lr"):
        rate = args.optim_conf.get(name, 0.0)
        if not isinstance(rate, int | float):
            raise InputError(f"optim_conf: {name} is {rate!r}, expected a number")


def check_preencoder(args: argparse.Namespace, frontend: Any) -> None:
    """InputError for a preencoder that expects features of another width than the upstream's."""
    width = frontend.output_size()
    expected = (args.preencoder_conf or {}).get("input_size", width) if getattr(args, "preencoder", None) else width
    if expected != width:
        raise InputError(
            f"preencoder_conf: input_size is {expected}, but features of upstream {frontend.source.get('upstream')} have "
            f"width {width}. Set input_size: {width}"
        )


def check_space(model: Any, folder: str | Path, keep_nbest_models: int | list[int]) -> None:
    """InputError when the disk cannot hold the checkpoints of a run.

    Three checkpoints may exist at once, each with the optimiser's two moments and what the method stores for a resumed run.
    Beside them are a model file per kept epoch, and the averages.
    """
    kept = max(keep_nbest_models) if isinstance(keep_nbest_models, list) else keep_nbest_models
    saved = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    needed = 3 * (saved + 2 * trained + model.frontend.attached.training_state_bytes()) + (kept + 3) * saved
    place = Path(folder)
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise InputError(
            f"{place} has {free / 2**20:.0f} MiB free, but the checkpoints need about {needed / 2**20:.0f} MiB. "
            "Free some space, lower keep_nbest_models, or choose another --expdir"
        )


def check_resume(args: argparse.Namespace) -> None:
    """InputError when the output folder holds a checkpoint of another configuration."""
    folder = Path(args.output_dir)
    saved_config = folder / "config.yaml"
    started = any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS))
    if not args.resume or not started or not saved_config.exists():
        return
    saved = read_yaml(saved_config)
    now: dict[str, Any] = yaml.safe_load(yaml.safe_dump(vars(args)))  # tuples become lists, as in the saved one
    for name in ("token_list", "transcript_token_list"):
        _check_tokens(folder, name, saved.get(name), args)
    for config in (saved, now):
        config["model_conf"] = {key: value for key, value in (config.get("model_conf") or {}).items() if key not in _COPIED}
    keys = (saved.keys() | now.keys()) - _FREE
    changed = sorted(key for key in keys if _absolute_paths(saved.get(key)) != _absolute_paths(now.get(key)))
    if changed:
        key = changed[0]
        more = f" (and {len(changed) - 1} more: {changed[1:6]})" if len(changed) > 1 else ""
        raise InputError(
            f"{folder} holds a run with another configuration: {key} was {saved.get(key)!r}, is {now.get(key)!r} now{more}. "
            "Resume with the old configuration, or give the new one another folder (--asr_tag)"
        )


def _check_tokens(folder: Path, name: str, saved: Any, args: argparse.Namespace) -> None:
    """Compare the lines of a token list, which are the model's outputs, with the saved ones. The file may have moved."""
    durations = (getattr(args, "model_conf", None) or {}).get("transducer_multi_blank_durations")
    if not isinstance(saved, list) or durations:  # with durations ESPnet inserts tokens
        return
    now = getattr(args, name) or []
    if isinstance(now, str):
        now = read_tokens(now)
    if list(now) == saved:
        return
    changed = [(index, old, new) for index, (old, new) in enumerate(zip(saved, now)) if old != new]
    difference = f"{len(saved)} tokens were there, {len(now)} are there now"
    if changed:
        difference = "token {} was {!r}, is {!r} now".format(*changed[0])
    raise InputError(
        f"{folder} holds a run with other tokens: {difference}. Resume with the old {name}, or give this run another folder "
        "(--asr_tag)"
    )


def _absolute_paths(value: Any) -> Any:
    """A copy with absolute paths: ``exp/stats`` and ``/home/me/exp/stats`` may be one folder."""
    if isinstance(value, dict):
        return {key: _absolute_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_absolute_paths(item) for item in value]
    return os.path.abspath(value) if isinstance(value, str) and os.sep in value else value
