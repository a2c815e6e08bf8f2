"""Opening a pack: a path or a hub id becomes models for a router. Nothing in a pack is run as code."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_s3router.errors import InputError, summary
from espnet_s3router.files import read_yaml
from espnet_s3router.plugin.deployment.bake import check_outputs, load_stock
from espnet_s3router.serving import Bank, Router
from espnet_s3router.serving.router import Models
from espnet_s3router.serving.single import SingleModel
from espnet_s3router.zoo.meta import ROUTES, Meta, escapes, read_meta
from espnet_s3router.zoo.source import folder_of
from espnet_s3router.zoo.tensor_files import check_checkpoints


def open_pack(tag_or_path: str | Path, *, device: str = "cpu") -> Models:
    """The models of a pack: a folder, a zip file, or ``OWNER/NAME`` or ``OWNER/NAME@REVISION`` of the Hugging Face hub.

    A zip file is unpacked to a temporary folder, which is removed once the models are in memory. Raises InputError that says
    what is wrong with the pack, and which names there are on the hub.
    """
    with folder_of(tag_or_path) as folder:
        return open_folder(folder, device=device)


def open_folder(folder: Path, *, device: str = "cpu") -> Models:
    """The models of a pack in a folder. Raises InputError for a pack that is not whole."""
    meta = read_meta(folder)
    check_checkpoints(folder)
    return _bank(folder, meta, device) if meta.kind == ROUTES else _baked(folder, meta, device)


def check_opened(folder: Path, name: str, waves: Sequence[Tensor], expected: Sequence[Tensor], failure: str) -> Router:
    """A router over the one model of a pack. Raises InputError unless it gives the ``expected`` outputs of each audio."""
    router = Router(open_folder(folder))
    with router.bank.using(name) as opened:
        check_outputs(opened, waves, expected, failure)
    return router


def _bank(folder: Path, meta: Meta, device: str) -> Bank:
    base = meta.facts.get("base") or {}
    source = {name: base[name] for name in ("upstream", "path_or_url") if isinstance(base.get(name), str)}
    if isinstance(base.get("inside"), str) and not escapes(base["inside"]):
        source["path_or_url"] = str(folder / base["inside"])
    if isinstance(base.get("shrunk"), str) and not escapes(base["shrunk"]):
        source["shrunk"] = str(folder / base["shrunk"])
    bank = Bank(source, device=device)
    for name, path in meta.routes.items():
        bank.add(folder / path, name)
    if not bank.names:
        raise InputError(f"{folder}: the pack lists no route")
    return bank


def _baked(folder: Path, meta: Meta, device: str) -> SingleModel:
    try:
        config = read_yaml(folder / meta.yaml_files[f"{meta.task}_train_config"])
        model_file = folder / meta.files[f"{meta.task}_model_file"]
    except KeyError as error:
        raise InputError(f"{folder}: its meta.yaml lacks {error}. Write the pack again with s3router pack") from error
    try:
        model = load_stock(placed(config, folder), model_file, meta.task)
    except Exception as error:  # torch and ESPnet raise many types on foreign files
        raise InputError(
            f"{folder}: its model cannot be loaded: {summary(error)}. Expected a file of tensors (weights_only) that fits "
            f"its config.yaml. It was made with espnet {meta.espnet}, here is {version('espnet')}: get another copy of the "
            "pack, or install that version"
        ) from error
    (name,) = meta.facts.get("models") or ("model",)
    decoding = meta.facts.get("decoding") or {}
    return SingleModel(name, model.to(torch.device(device)), {**config, "decoding": decoding}, meta.task)


def placed(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """``config`` with the paths of packed files in ``folder``. Paths that ESPnet has made absolute stay as they are."""
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}

    def place(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: place(item) for key, item in value.items()}
        return str(folder / value) if isinstance(value, str) and value in names else value

    return {key: place(value) for key, value in config.items()}
