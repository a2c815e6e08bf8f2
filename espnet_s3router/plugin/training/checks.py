"""Checks before training starts: the space for checkpoints, and that a resumed run is the run that was begun."""

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from espnet_s3router.errors import InputError

# May differ between the runs of one experiment: where and how fast it runs, not what is learned. (Of the token list the
# lines are compared.)
_FREE = {
    "config", "print_config", "log_level", "dry_run", "iterator_type", "output_dir", "ngpu", "num_workers", "resume",
    "max_epoch", "log_interval", "use_tensorboard", "use_matplotlib", "use_wandb", "keep_nbest_models", "version",
    "nbest_averaging_interval", "num_att_plot", "multiprocessing_distributed", "distributed", "local_rank", "dist_rank",
    "dist_world_size", "dist_backend", "dist_init_method", "dist_master_addr", "dist_master_port", "dist_launcher",
    "dist_init_timeout", "dist_shutdown_timeout", "valid_max_cache_size", "max_cache_size", "max_cache_fd", "patience",
    "required", "token_list", "transcript_token_list", "train_dtype", "cudnn_benchmark",
}  # fmt: skip
_COPIED = ("transcript_token_list", "two_pass", "pre_postencoder_norm")  # options that ESPnet's SLU puts into model_conf too


def check_resume(args: argparse.Namespace) -> None:
    """InputError when the output folder holds a checkpoint of another configuration; nothing is overwritten then."""
    folder = Path(args.output_dir)
    saved_config = folder / "config.yaml"
    begun = any((folder / name).exists() for name in ("checkpoint.pth", "checkpoint.previous.pth"))
    if not args.resume or not begun or not saved_config.exists():
        return
    with saved_config.open(encoding="utf-8") as file:
        saved: dict[str, Any] = yaml.safe_load(file)
    # as the file would read after a round trip: tuples are lists there
    now: dict[str, Any] = yaml.safe_load(yaml.safe_dump(_plain(vars(args))))
    for name in ("token_list", "transcript_token_list"):
        _check_tokens(folder, name, saved.get(name), args)
    for config in (saved, now):
        config["model_conf"] = {key: value for key, value in (config.get("model_conf") or {}).items() if key not in _COPIED}
    keys = (saved.keys() | now.keys()) - _FREE
    changed = sorted(key for key in keys if _located(saved.get(key)) != _located(now.get(key)))
    if changed:
        key = changed[0]
        raise InputError(
            f"{folder} holds a run with another configuration: {key} was {saved.get(key)!r}, is {now.get(key)!r} now"
            f"{f' (and {len(changed) - 1} more: {changed[1:6]})' if len(changed) > 1 else ''}. "
            "Resume with the old configuration, or give the new one another folder (--asr_tag)"
        )


def _check_tokens(folder: Path, name: str, saved: Any, args: argparse.Namespace) -> None:
    """The file may lie elsewhere now, but its lines in their order are what the model knows, and are saved."""
    durations = (getattr(args, "model_conf", None) or {}).get("transducer_multi_blank_durations")
    if not isinstance(saved, list) or durations:  # for which ESPnet puts tokens of its own between
        return
    now = getattr(args, name) or []
    if isinstance(now, str):
        with open(now, encoding="utf-8") as file:
            now = [line.rstrip() for line in file]
    if list(now) == saved:
        return
    differing = [(at, *pair) for at, pair in enumerate(zip(saved, now)) if pair[0] != pair[1]]
    what = f"{len(saved)} were, {len(now)} are there"
    if differing:
        what = "token {} was {!r}, is {!r} now".format(*differing[0])
    raise InputError(
        f"{folder} holds a run with other tokens: {what}. Resume with the {name} of then, or give this run another "
        "folder (--asr_tag)"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key) if not isinstance(key, int | str) else key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _located(value: Any) -> Any:
    """With paths in full: ``exp/stats`` and ``/home/me/exp/stats`` may be one folder."""
    if isinstance(value, dict):
        return {key: _located(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_located(item) for item in value]
    return os.path.abspath(value) if isinstance(value, str) and os.sep in value else value


def check_space(model: nn.Module, folder: str | Path, keep_nbest_models: int | list[int]) -> None:
    """InputError when the disk cannot hold the checkpoints: one with optimiser state (two moments of the trained parameters,
    and what a pruning method may keep of removed ones, twice while it is replaced) and one model file per kept epoch plus
    the averages."""
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
