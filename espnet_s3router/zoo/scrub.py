"""The configuration of a packed model: without paths of data, and with the files that the model needs beside it."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError
from espnet_s3router.zoo.meta import files_below
from espnet_s3router.zoo.tensor_files import CHECKPOINTS, check_tensor_file

UPSTREAM = "pack_files/upstream"
"""Folder of the upstream in a pack. espnet_model_zoo takes a value for a path only if it has a slash. Older versions also
rewrite every value that is the name of a folder, and no other value of a configuration is ``pack_files``."""
SHRUNK = "pack_files/shrunk_upstream.safetensors"
"""The smaller upstream of a shrunk model in a pack."""
FILES = {("bpemodel",): "pack_files/bpe.model", ("normalize_conf", "stats_file"): "pack_files/feats_stats.npz"}
"""Files that a configuration names and inference reads: keys in the configuration, name in the pack."""
NEEDED = (
    *("input_size", "normalize", "preencoder", "encoder", "postencoder", "decoder", "joint_net", "ctc", "model", "frontend"),
    *("specaug", "token_list", "transcript_token_list", "token_type", "bpemodel", "deliberationencoder", "postdecoder"),
    *("two_pass", "pre_postencoder_norm"),
)
"""Options that build a model, with their ``_conf``. Paths in any other option belong to the training data."""
TRAINING_ONLY: dict[str, Any] = {
    "init_param": [],
    "pretrain_path": None,
    "output_dir": None,
    "config": None,
    "non_linguistic_symbols": None,
}


def packed_config(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """``config`` for a pack in ``folder``; files that the model needs are copied there.

    Paths become relative to the pack. Raises InputError for a needed file that is missing.
    """
    result = {
        name: value if name.removesuffix("_conf") in NEEDED else without_paths(value) for name, value in config.items()
    }
    result |= {name: value for name, value in TRAINING_ONLY.items() if name in result}
    for keys, name in FILES.items():
        holder = dict(result.get(keys[0]) or {}) if len(keys) == 2 else result
        if path := holder.get(keys[-1]):
            copy(Path(path), folder / name, ".".join(keys))
            holder[keys[-1]] = name
            if len(keys) == 2:
                result[keys[0]] = holder
    frontend = {name: value for name, value in result["frontend_conf"].items() if name not in ("download_dir", "distill")}
    frontend["frontend_conf"] = packed_source(frontend["frontend_conf"], folder)
    if isinstance(frontend.get("mask_conf"), Mapping):  # files that a run began from are not read again
        frontend["mask_conf"] = {
            name: Path(value).name if _holds_path(value) and isinstance(value, str) else value
            for name, value in frontend["mask_conf"].items()
        }
    return result | {"frontend_conf": frontend}


def packed_source(source: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The inner ``frontend_conf`` of an upstream; what of it lies on this machine is copied into the pack."""
    if source.get("shrunk"):
        copy(Path(source["shrunk"]), folder / SHRUNK, "frontend_conf.shrunk")
        source = {**source, "shrunk": SHRUNK}
    path: Any = source.get("path_or_url")
    if not is_local(path):
        return dict(source)
    place = UPSTREAM if Path(path).is_dir() else f"{UPSTREAM}/{Path(path).name}"
    copy(Path(path), folder / place, "frontend_conf.path_or_url")
    return {**source, "path_or_url": place}


def is_local(path: Any) -> bool:
    """True if ``path_or_url`` of an upstream names a file or folder of this machine."""
    return bool(path) and "://" not in str(path) and (Path(path).exists() or str(path).startswith(("/", ".", "~")))


def copy(source: Path, target: Path, option: str) -> None:
    """Copy a file, or the files of a model folder and its licences.

    Raises InputError if it is missing, or if it is a checkpoint that holds more than tensors and plain values.
    """
    if not source.exists():
        raise InputError(f"{option} is {source}, and there is no such file. Pack from the folder that training ran in")
    files = {source: target}
    if source.is_dir():
        names = [name for name in files_below(source) if "/" not in name or name.startswith("licences/")]
        files = {source / name: target / name for name in names}
    for path, place in files.items():
        if path.suffix in CHECKPOINTS:
            check_tensor_file(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def without_paths(value: Any) -> Any:
    """``value`` with None in place of texts that look like paths; lists that hold such a text become empty."""
    if isinstance(value, Mapping):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [] if any(_holds_path(item) for item in value) else list(value)
    return None if _holds_path(value) else value


def _holds_path(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_path(item) for item in value)
    return isinstance(value, str) and "/" in value and "://" not in value
