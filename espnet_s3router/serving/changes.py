"""What a route changes on a base that is in memory: removed positions, whole tensors, low-rank updates and scaled signs."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.masks.names import parameter_key
from espnet_s3router.methods import resolve
from espnet_s3router.methods.adapters.bitdelta import sizes_of, stored_whole, with_delta
from espnet_s3router.methods.adapters.lora import low_rank_sum
from espnet_s3router.methods.finetune import biases, norms
from espnet_s3router.methods.fixed_masks import FixedMaskConfig, layer_extras
from espnet_s3router.methods.options import sites_of
from espnet_s3router.plugin.deployment.route_model import decode_on, mask_conf_of
from espnet_s3router.plugin.frontend import MaskedUpstream
from espnet_s3router.routes import RouteFile
from espnet_s3router.routes.switch import Changes, Update, removed_weights

_LOW_RANK = re.compile(r"(?P<owner>.*\.)?parametrizations\.(?P<tensor>[^.]+)\.0\.[ab]")


def changes_of(file: RouteFile, frontend: MaskedUpstream) -> Changes:
    """The changes that ``file`` makes to the expert of ``frontend``, an unchanged base.

    Raises InputError for another base, for tensors that do not fit the method, and for methods that add modules.
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
    return Changes(removed=removed_weights(route, parameters), tensors=plain, updates=updates)


def low_rank_updates(file: RouteFile, tensors: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Update]:
    """The updates of method lora by the path of their tensor."""
    if file.header["metadata"]["method"] != "lora":
        return {}
    _, options = resolve(mask_conf_of(file))
    names = {(match["owner"] or "") + match["tensor"] for match in map(_LOW_RANK.fullmatch, tensors) if match}
    updates: dict[str, Update] = {}
    for name in sorted(names):
        a, b = (tensors[parameter_key(name, part)].float().to(base[name].device) for part in "ab")
        updates[name] = partial(low_rank_sum, a=a, b=b, scaling=options.alpha / options.rank)
    return updates


def sign_updates(file: RouteFile, tensors: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Update]:
    """The updates of method bitdelta by the path of their tensor. Raises InputError for parts of a wrong shape."""
    if file.header["metadata"]["method"] != "bitdelta":
        return {}
    _, options = resolve(mask_conf_of(file))
    updates: dict[str, Update] = {}
    for name in (name for name in base if parameter_key(name, "signs") in tensors):
        delta = {}
        for part, size in sizes_of(base[name].shape, options.scales).items():
            delta[part] = tensors[parameter_key(name, part)].to(base[name].device)
            if list(delta[part].shape) != size:
                key, shape = parameter_key(name, part), tuple(delta[part].shape)
                raise InputError(f"{file.path}: upstream tensor {key} has shape {shape}, expected {tuple(size)}")
        updates[name] = partial(with_delta, parameters=delta)
    return updates


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
        keys = {parameter_key(name, part) for name, shape in sizes.items() for part in sizes_of(shape, options.scales)}
        return keys | set(stored_whole(expert, options))
    return None
