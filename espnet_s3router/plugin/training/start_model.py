"""Where training begins: the weights of a finetuned model (``start``), and scores that another run has found
(``initial_mask``). Only training reads these files; a checkpoint of ours is complete without them."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.masks.names import scores_key
from espnet_s3router.plugin.checkpoint import FINGERPRINT

FRONTEND = "frontend."
UPSTREAM = "frontend.upstream.upstream."


def begin_training(model: nn.Module, init_param: Sequence[str] = ()) -> None:
    """Let the method of ``model`` (an ESPnet model with our frontend) begin, from the files that its options name.

    InputError when a file is missing, belongs to another upstream or an unfinished run, or does not fit.
    """
    attached: Any = model.frontend.attached  # type: ignore[union-attr]
    start, mask = attached.config.get("start"), attached.config.get("initial_mask")
    if init_param and attached.startable:
        raise InputError("--init_param would replace weights that are pruned already: use start in mask_conf instead")
    weights = ranked = None
    if start is not None:
        state = read_model(start, "start", model)
        refuse_other_run(Path(start), model)
        weights = finetuned_weights(state, attached.startable, start)
        load_head(model, state, start)
    if mask is not None:
        own = {name: (weights or attached.trained)[name].detach().cpu() for name in attached.kept()}
        ranked = ranking_values(read_model(mask, "initial_mask", model), own, mask)
    attached.begin(weights, ranked)
    for option, path in (("start", start), ("initial_mask", mask)):
        if path is not None:
            logging.info(f"{option}: {path}")


def read_model(path: str, option: str, model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a model file of ours, on the CPU; InputError unless it is a finished run's on the same upstream."""
    refuse_unusable(path, f"mask_conf: {option}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch raises on a file that is none of its own
        raise InputError(f"mask_conf: {option}: {path} is no model file: {type(error).__name__}") from error
    expected = getattr(model.frontend, FINGERPRINT).cpu()  # type: ignore[union-attr]
    found = state.get(FRONTEND + FINGERPRINT) if isinstance(state, dict) else None
    if not isinstance(found, Tensor):
        raise InputError(
            f"mask_conf: {option}: {path} is no model file of a run with frontend masked_upstream. "
            "Expected its valid.….ave.pth or …epoch.pth"
        )
    if not torch.equal(found, expected):
        raise InputError(f"mask_conf: {option}: {path} was trained on another upstream than this run's")
    return state


def refuse_unusable(path: str, option: str) -> None:
    """InputError when ``path`` is no file, or lies in a recipe's folder whose run is not finished."""
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{option} is {path!r}, and there is no such file. Expected a model file (.pth)")
    if (file.parent / "train.yaml").exists() and not (file.parent / ".trained").exists():
        raise InputError(f"{option}: the run in {file.parent} is not finished. Train it to the end first")


def refuse_other_run(path: Path, model: nn.Module) -> None:
    """InputError when the configuration beside a model file says that it was not finetuned, or to other tokens."""
    config = config_beside(path)
    method = mask_conf_of(config).get("method", "finetune")
    if method != "finetune":
        raise InputError(f"mask_conf: start: {path} is of a run of method {method}, expected one of method finetune")
    if config.get("token_list", model.token_list) != model.token_list:
        raise InputError(f"mask_conf: start: {path} has other tokens than this run, or in another order")


def config_beside(path: Path) -> dict[str, Any]:
    """The configuration of the run that a model file is of, empty where the file lies alone."""
    config = path.with_name("config.yaml")
    return yaml.safe_load(config.read_text(encoding="utf-8")) if config.exists() else {}


def mask_conf_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The method and its options in a configuration."""
    return (config.get("frontend_conf") or {}).get("mask_conf") or {}


def finetuned_weights(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str) -> dict[str, Tensor]:
    """What ``wanted`` (by path in the upstream) names, and nothing else may be there."""
    given = {key.removeprefix(UPSTREAM): tensor for key, tensor in state.items() if key.startswith(UPSTREAM)}
    missing, more = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    if missing:
        raise InputError(
            f"mask_conf: start: {path} lacks {len(missing)} of {len(wanted)} finetuned tensors, for example {missing[0]}. "
            "Expected a run of method finetune with the same train_cnn"
        )
    if more:
        raise InputError(
            f"mask_conf: start: {path} holds {len(more)} tensors that are not finetuned here, for example {more[0]}. "
            "Expected a run of method finetune with the same train_cnn"
        )
    for name, tensor in given.items():
        check_shape(f"start: {path}: {name}", tensor, wanted[name])
    return given


@torch.no_grad()
def load_head(model: nn.Module, state: Mapping[str, Tensor], path: str) -> None:
    """Everything of the model outside the upstream (CTC head, weights of the featurizer) is taken over as well."""
    for name, tensor in model.state_dict().items():
        if name.startswith(UPSTREAM) or name == FRONTEND + FINGERPRINT:
            continue
        if name not in state:
            raise InputError(f"mask_conf: start: {path} lacks {name}: its model has another head than this run's")
        check_shape(f"start: {path}: {name}", state[name], tensor)
        tensor.copy_(state[name])


def ranking_values(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str) -> dict[str, Tensor]:
    """What a model file says of the importance of each tensor in ``wanted`` (this run's weights by path): learned scores,
    else its weights, of which the removed ones are the first to go, see ``break_ties``. Scores of different tensors cannot
    be compared unless they were learned in one ranking, as each has its own scale, nor scores with weights: the ranks within
    each tensor are given then, in (0, 1]."""
    found: dict[str, Tensor] = {}
    weights: dict[str, Tensor] = {}
    for name, tensor in wanted.items():
        keys = (UPSTREAM + scores_key(name), UPSTREAM + name)
        key = next((key for key in keys if key in state), None)
        if key is None:
            raise InputError(
                f"mask_conf: initial_mask: {path} holds neither scores nor weights of {name}. "
                "Expected a run that masked, pruned or finetuned the same targets"
            )
        check_shape(f"initial_mask: {path}: {name}", state[key], tensor)
        found[name] = state[key]
        if key == keys[1]:
            weights[name] = found[name]
    break_ties(weights, wanted)
    one_ranking = mask_conf_of(config_beside(Path(path))).get("ranking") == "global"
    if len(weights) == len(found) or (one_ranking and not weights):
        return found
    return {name: ranks(tensor) for name, tensor in found.items()}


def break_ties(ranked: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Fill the zeros of ``ranked`` in place: where that run removed more than this one is to remove, ``own`` magnitudes
    decide among them. They stay below every weight that is left there. (As ties they would go layer by layer.)"""
    removed = {name: tensor.abs() <= torch.finfo(tensor.dtype).tiny for name, tensor in ranked.items()}
    left = [tensor[~removed[name]].abs().min().item() for name, tensor in ranked.items() if not removed[name].all()]
    largest = max((own[name].abs().max().item() for name in ranked), default=0.0)
    factor = min(left, default=1.0) / (2 * largest or 1.0)
    for name, tensor in ranked.items():
        tensor[removed[name]] = own[name][removed[name]] * factor


def ranks(scores: Tensor) -> Tensor:
    """For each entry the share of the tensor whose magnitude is not larger; same shape, in (0, 1]."""
    order = scores.abs().flatten().argsort(stable=True)
    ranked = torch.empty(order.numel())
    ranked[order] = torch.arange(1, order.numel() + 1, dtype=torch.float32) / order.numel()
    return ranked.view(scores.shape)


def check_shape(what: str, got: Tensor, expected: Tensor) -> None:
    """InputError when two tensors differ in shape."""
    if got.shape != expected.shape:
        raise InputError(f"mask_conf: {what} has shape {tuple(got.shape)}, expected {tuple(expected.shape)}")
