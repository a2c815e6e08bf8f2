"""The configuration of a packed model: without paths of data, and with the files that the model needs beside it."""

import fnmatch
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.upstreams.source import located
from espnet_s3router.zoo.meta import SUFFIXES, files_below, is_known
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
CONFIGURATION = ("config.json", "preprocessor_config.json", "processor_config.json")
WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "pytorch_model.bin", "pytorch_model-*-of-*.bin")
"""Weights of a Hugging Face folder, in the order in which loaders look for them. Parts have an index beside them."""
ABOUT = ("README.md", "MODEL_CARD.md", "LICENSE*", "LICENCE*", "NOTICE*", "licences/*")
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
    if isinstance(frontend.get("mask_conf"), Mapping):
        frontend["mask_conf"] = without_folders(frontend["mask_conf"])
    return result | {"frontend_conf": frontend}


def without_folders(mask_conf: Mapping[str, Any]) -> dict[str, Any]:
    """``mask_conf`` with the names alone of the files that a run began from, which are not read again."""
    return {
        name: Path(value).name if isinstance(value, str) and _holds_path(value) else value
        for name, value in mask_conf.items()
    }


def packed_source(source: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The inner ``frontend_conf`` of an upstream; what of it lies on this machine is copied into the pack."""
    source = located(source)
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
    """Copy a file, or what loaders read of a model folder.

    Raises InputError if it is missing, of a type that packs do not hold, or a checkpoint that holds more than tensors and
    plain values.
    """
    if not source.exists():
        raise InputError(f"{option} is {source}, and there is no such file. Pack from the folder that training ran in")
    files = {source / name: target / name for name in files_of_model(source)} if source.is_dir() else {source: target}
    for path, place in files.items():
        if not is_known(path):
            raise InputError(
                f"{option}: packs hold no files like {path.name}, expected the types {' '.join(SUFFIXES)}. Rename it to the "
                "type that it is, such as .pt, if its loader allows that"
            )
        if path.suffix in CHECKPOINTS:
            check_tensor_file(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def files_of_model(folder: Path) -> list[str]:
    """The files of a model folder that its loader reads, and its licences.

    A clone of the Hugging Face hub also holds tokenisers, and the same weights for other libraries.
    """
    names = [name for name in files_below(folder) if is_known(Path(name))]
    about = [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in ABOUT)]
    if "config.json" not in names:  # of another library than transformers
        return sorted({*about, *(name for name in names if "/" not in name)})
    weights = next((found for pattern in WEIGHTS if (found := fnmatch.filter(names, pattern))), [])
    indices = [f"{weights[0].split('-')[0]}{Path(weights[0]).suffix}.index.json"] if weights else []
    return sorted({*about, *weights, *(name for name in (*CONFIGURATION, *indices) if name in names)})


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
