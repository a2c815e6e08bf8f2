"""What a route changes on a base that is in memory: removed positions, whole tensors, low-rank updates and scaled signs."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.masks.names import parameter_key
from espnet_s3router.methods import resolve
from espnet_s3router.methods.adapters import bitdelta, lora
from espnet_s3router.methods.finetune import biases, norms
from espnet_s3router.methods.fixed_masks import FixedMaskConfig, layer_extras
from espnet_s3router.methods.options import sites_of
from espnet_s3router.plugin.deployment.route_model import decode_on, mask_conf_of, refuse_empty
from espnet_s3router.plugin.frontend import MaskedUpstream
from espnet_s3router.routes import RouteFile
from espnet_s3router.routes.switch import Changes, Update, removed_weights


def changes_of(file: RouteFile, frontend: MaskedUpstream) -> Changes:
    """The changes that ``file`` makes to the expert of ``frontend``, an unchanged base.

    Raises InputError for another base, for tensors that do not fit the method, and for methods that add modules; EmptyRoute
    for a route that changes nothing.
    """
    check_tensor_names(file, frontend)
    route = decode_on(file, frontend)
    parameters = dict(frontend.expert.named_parameters())
    upstream = file.part("upstream")
    plain = {name: tensor for name, tensor in upstream.items() if name in parameters}
    for name, tensor in plain.items():
        if tensor.shape != parameters[name].shape:
            expected = tuple(parameters[name].shape)
            raise InputError(f"{file.path}: upstream tensor {name} has shape {tuple(tensor.shape)}, expected {expected}")
    updates = low_rank_updates(file, upstream, parameters) | sign_updates(file, upstream, parameters)
    same = all(torch.equal(parameters[name].cpu().to(tensor.dtype), tensor) for name, tensor in plain.items())
    same = same and all(torch.equal(update(parameters[name]), parameters[name]) for name, update in updates.items())
    refuse_empty(file, route, same)
    return Changes(removed=removed_weights(route, parameters), tensors=plain, updates=updates)


def low_rank_updates(file: RouteFile, tensors: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Update]:
    """The updates of method lora by the path of their tensor. Raises InputError for parts of a wrong shape."""
    method, options = resolve(mask_conf_of(file))
    if method != "lora":
        return {}
    updates: dict[str, Update] = {}
    for name in (name for name in base if parameter_key(name, "a") in tensors):
        sizes = lora.sizes_of(base[name].shape, options.rank)
        parts = {part: tensor.float() for part, tensor in parts_of(file, tensors, name, base[name], sizes).items()}
        updates[name] = Update(partial(lora.low_rank_sum, scaling=options.alpha / options.rank), parts)
    return updates


def sign_updates(file: RouteFile, tensors: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Update]:
    """The updates of method bitdelta by the path of their tensor. Raises InputError for parts of a wrong shape."""
    method, options = resolve(mask_conf_of(file))
    if method != "bitdelta":
        return {}
    updates: dict[str, Update] = {}
    for name in (name for name in base if parameter_key(name, "signs") in tensors):
        sizes = bitdelta.sizes_of(base[name].shape, options.scales)
        updates[name] = Update(bitdelta.with_delta, parts_of(file, tensors, name, base[name], sizes))
    return updates


def parts_of(
    file: RouteFile, tensors: Mapping[str, Tensor], name: str, weight: Tensor, sizes: Mapping[str, list[int]]
) -> dict[str, Tensor]:
    """What the update of ``weight`` is made of, on its device. Raises InputError unless the shapes are ``sizes``."""
    parts = {}
    for part, size in sizes.items():
        key = parameter_key(name, part)
        if list(tensors[key].shape) != size:
            shape = tuple(tensors[key].shape)
            raise InputError(f"{file.path}: upstream tensor {key} has shape {shape}, expected {tuple(size)}")
        parts[part] = tensors[key].to(weight.device)
    return parts


def check_tensor_names(file: RouteFile, frontend: MaskedUpstream) -> None:
    """Raises InputError unless the file holds exactly the upstream tensors that its method trains."""
    name, options = resolve(mask_conf_of(file))
    expected = trained_names(name, options, frontend)
    if expected is None:
        raise InputError(
            f"{file.path}: its method {name} adds modules to the base, which a bank shares among all routes. "
            "Load it alone, with espnet_s3router.plugin.deployment.route_model.load_model"
        )
    odd = sorted(expected ^ file.part("upstream").keys())
    if odd:
        kind = "lacks" if odd[0] in expected else "holds the extra tensor"
        raise InputError(f"{file.path}: {kind} {odd[0]}, expected the tensors that {name} trains. Write the route again")


def trained_names(name: str, options: Any, frontend: MaskedUpstream) -> set[str] | None:
    """Upstream tensors in the route of a method, without its masks; None for a method that adds modules."""
    expert = frontend.expert
    if name == "head_only":
        return set()
    if isinstance(options, FixedMaskConfig):
        return set(layer_extras(expert, options))
    if name == "bitfit":
        return set(biases(expert)) | (set(norms(expert)) if options.train_norms else set())
    if name == "lora":
        return {parameter_key(site.name, part) for site in sites_of(expert, options.targets) for part in "ab"}
    if name == "bitdelta":
        sizes = {site.name: getattr(site.module, site.tensor).shape for site in sites_of(expert, options.targets)}
        parts = {name: bitdelta.sizes_of(shape, options.scales) for name, shape in sizes.items()}
        keys = {parameter_key(name, part) for name in parts for part in parts[name]}
        return keys | set(bitdelta.stored_whole(expert, options))
    return None
