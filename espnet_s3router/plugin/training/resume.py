"""Whether a run may be resumed: its configuration and its tokens must be the old ones."""

import argparse
import os
from pathlib import Path
from typing import Any

import yaml

from espnet_s3router.errors import InputError
from espnet_s3router.files import read_yaml
from espnet_s3router.plugin.training.checkpoint_files import CHECKPOINT, PREVIOUS

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


def check_resume(args: argparse.Namespace) -> None:
    """InputError when the output folder holds a checkpoint of another configuration."""
    folder = Path(args.output_dir)
    saved_config = folder / "config.yaml"
    started = any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS))
    if not args.resume or not started or not saved_config.exists():
        return
    saved = read_yaml(saved_config)
    # through YAML, as the saved one: tuples become lists
    now: dict[str, Any] = yaml.safe_load(yaml.safe_dump(_plain(vars(args))))
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
        with open(now, encoding="utf-8") as file:
            now = [line.rstrip() for line in file]
    if list(now) == saved:
        return
    difference = f"it has {len(saved)}, the list has {len(now)} now"
    for index, (old, new) in enumerate(zip(saved, now)):
        if old != new:
            difference = f"token {index} was {old!r}, is {new!r} now"
            break
    raise InputError(
        f"{folder} holds a run with other tokens: {difference}. Resume with the old {name}, or give this run another folder "
        "(--asr_tag)"
    )


def _plain(value: Any) -> Any:
    """A copy that YAML can represent."""
    if isinstance(value, dict):
        return {str(key) if not isinstance(key, int | str) else key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _absolute_paths(value: Any) -> Any:
    """A copy with absolute paths: ``exp/stats`` and ``/home/me/exp/stats`` may be one folder."""
    if isinstance(value, dict):
        return {key: _absolute_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_absolute_paths(item) for item in value]
    return os.path.abspath(value) if isinstance(value, str) and os.sep in value else value
