"""The start of training: weights of a finetuned model (``start``) and scores of another run (``initial_mask``). Only
training reads these files; our checkpoints are complete without them."""

import logging
from collections.abc import Mapping, Sequence, Set
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.checkpoint import FINGERPRINT, FRONTEND_KEYS, UPSTREAM_KEYS
from espnet_s3router.plugin.model_file import check_shape, config_beside, mask_conf_of, read_model_file
from espnet_s3router.plugin.training.initial_mask import saliency_of


def start_method(model: Any, init_param: Sequence[str] = ()) -> None:
    """Start the method of ``model`` (ESPnet's, with our frontend) from the files that its options name. InputError when a
    file is missing, belongs to another upstream or an unfinished run, or has other tensors."""
    attached = model.frontend.attached
    start, initial_mask = attached.config.get("start"), attached.config.get("initial_mask")
    if init_param and attached.startable:
        raise InputError("--init_param would replace weights that are pruned already: use start in mask_conf instead")
    weights = saliency = None
    if start is not None:
        state = read_model_file(start, "start", model)
        check_start_config(start, model)
        weights = finetuned_weights(state, attached.startable, start, attached.start_may_lack)
        load_head(model, state, start)
    if initial_mask is not None:
        base = {name: tensor.detach().cpu() for name, tensor in attached.weights().items()}
        own = {name: (weights or {}).get(name, tensor) for name, tensor in base.items()}
        saliency = saliency_of(read_model_file(initial_mask, "initial_mask", model), own, base, initial_mask)
    attached.begin(weights, saliency)
    for option, path in (("start", start), ("initial_mask", initial_mask)):
        if path is not None:
            logging.info(f"{option}: {path}")


def check_start_config(path: str, model: Any) -> None:
    """InputError when the config.yaml beside a model file shows another method than finetune, or other tokens."""
    config = config_beside(path)
    method = mask_conf_of(config).get("method", "finetune")
    if method != "finetune":
        raise InputError(f"mask_conf: start: {path} is of a run of method {method}, expected one of method finetune")
    if config.get("token_list", model.token_list) != model.token_list:
        raise InputError(f"mask_conf: start: {path} has other tokens than this run, or in another order")


def finetuned_weights(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: str, may_lack: Set[str] = frozenset()
) -> dict[str, Tensor]:
    """The upstream's tensors in ``state``; InputError unless they are those of ``expected`` (by path in the upstream), of
    which all of ``may_lack`` may be missing."""
    weights = {key.removeprefix(UPSTREAM_KEYS): tensor for key, tensor in state.items() if key.startswith(UPSTREAM_KEYS)}
    optional = may_lack if weights.keys().isdisjoint(may_lack) else set()
    missing, extra = sorted(expected.keys() - weights.keys() - optional), sorted(weights.keys() - expected.keys())
    difference = None
    if missing:
        difference = f"lacks {len(missing)} of {len(expected)} finetuned tensors, for example {missing[0]}"
    elif extra:
        difference = f"holds {len(extra)} tensors that are not finetuned here, for example {extra[0]}"
    if difference:
        raise InputError(f"mask_conf: start: {path} {difference}. Expected a run of method finetune with the same train_cnn")
    for name, tensor in weights.items():
        check_shape(f"start: {path}: {name}", tensor, expected[name])
    return weights


@torch.no_grad()
def load_head(model: nn.Module, state: Mapping[str, Tensor], path: str) -> None:
    """Copy everything outside the upstream from ``state``: the CTC head and the featurizer's weights."""
    for name, tensor in model.state_dict().items():
        if name.startswith(UPSTREAM_KEYS) or name == FRONTEND_KEYS + FINGERPRINT:
            continue
        if name not in state:
            raise InputError(f"mask_conf: start: {path} lacks {name}: its model has another head than this run's")
        check_shape(f"start: {path}: {name}", state[name], tensor)
        tensor.copy_(state[name])
