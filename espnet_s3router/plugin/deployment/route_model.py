"""Models of route files: a fresh model on the base, with the masks, tensors and head of the route.

Masks are multiplied into plain weights, so scores need no memory.
"""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError, summary
from espnet_s3router.masks.straight_through import as_factor
from espnet_s3router.methods import METHODS, resolve
from espnet_s3router.methods.options import sites_of
from espnet_s3router.plugin.checkpoint import FINGERPRINT, hexadecimal
from espnet_s3router.plugin.deployment.bake import TASKS
from espnet_s3router.plugin.frontend import MaskedUpstream
from espnet_s3router.routes import EmptyRoute, Route, RouteFile, open_route

MODEL_OPTIONS = (
    *("input_size", "normalize", "preencoder", "encoder", "postencoder", "decoder", "joint_net", "ctc", "model"),
    *("deliberationencoder", "postdecoder", "two_pass", "pre_postencoder_norm", "token_type"),
)
"""Options of ESPnet's build_model that a route keeps, with their ``_conf``, beside the frontend and the token list."""
FRONTEND_OPTIONS = ("fs", "frontend_conf", "multilayer_feature", "layer", "mask_conf")
"""Options of the frontend that a route keeps; the others act in training only."""


def load_model(route: str | Path | RouteFile, source: Mapping[str, Any] | None = None) -> Any:
    """ESPnet's model of a route, in evaluation mode. ``source`` replaces the upstream and path that the file names.

    Raises InputError for a broken file, for another base, and for masks or tensors that do not fit the method.
    """
    file = route if isinstance(route, RouteFile) else open_route(route)
    return build_on(file, load_frontend(file, source))


def build_on(file: RouteFile, frontend: MaskedUpstream) -> Any:
    """ESPnet's model of a route on a frontend that has its masks and tensors, in evaluation mode."""
    options = {name: v for name, v in file.header["config"].items() if name.removesuffix("_conf") in MODEL_OPTIONS}
    fixed: dict[str, Any] = {
        "input_size": frontend.output_size(),  # with it, ESPnet builds no frontend
        "frontend": None,
        "frontend_conf": {},
        "specaug": None,
        "specaug_conf": {},
        "init": None,
        "transcript_token_list": None,
    }
    try:
        model = TASKS[file.header["metadata"]["task"]].build_model(
            Namespace(**options | fixed, token_list=file.header["tokens"])
        )
    except InputError:
        raise
    except Exception as error:  # ESPnet raises many types on foreign configurations
        raise InputError(f"{file.path}: its model cannot be built: {summary(error)}. Write the route again") from error
    place(file, "head", file.part("head"), model.state_dict())
    model.frontend = frontend
    return model.eval()


def load_frontend(route: str | Path | RouteFile, source: Mapping[str, Any] | None = None) -> MaskedUpstream:
    """The frontend of a route, in evaluation mode; arguments and errors as for ``load_model``."""
    file = route if isinstance(route, RouteFile) else open_route(route)
    frontend = MaskedUpstream(**frontend_options(file, source))
    apply(file, frontend)
    return frontend.eval()


def frontend_options(file: RouteFile, source: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Options of the frontend that a route is applied to. Masks go into plain weights, so scores need no memory."""
    conf = file.header["config"].get("frontend_conf")
    known = isinstance(conf, dict) and not set(conf) - set(FRONTEND_OPTIONS)
    if not (known and isinstance(conf.get("mask_conf"), dict) and isinstance(conf.get("frontend_conf") or {}, dict)):
        raise InputError(f"{file.path}: its frontend_conf is {conf!r:.80}, expected some of {', '.join(FRONTEND_OPTIONS)}")
    options = dict(conf)
    if source is not None:
        options["frontend_conf"] = {**(conf.get("frontend_conf") or {}), **source}
    if file.coded:
        options["mask_conf"] = {"method": "head_only"}
    return options


@torch.no_grad()
def apply(file: RouteFile, frontend: MaskedUpstream) -> None:
    """Put masks and trained tensors into a fresh frontend from ``frontend_options``."""
    parameters = dict(frontend.expert.named_parameters())
    route = decode_on(file, frontend)
    trained = route.part("upstream")
    missing = sorted((frontend.attached.trained | frontend.attached.saved).keys() - trained.keys())
    if missing:
        raise InputError(f"{file.path}: lacks {len(missing)} tensors that its method learns, for example {missing[0]}")
    same = all(name in parameters and torch.equal(parameters[name].to(t.dtype), t) for name, t in trained.items())
    refuse_empty(file, route, same)
    place(file, "upstream", trained, parameters)
    place(file, "featurizer", route.part("featurizer"), dict(frontend.featurizer.named_parameters()))
    for name, mask in route.masks.items():
        parameters[name].mul_(as_factor(mask.to(parameters[name].device)))


def refuse_empty(file: RouteFile, route: Route, same: bool) -> None:
    """Raises EmptyRoute if the method left the upstream as it was. ``same``: trained tensors are those of the base."""
    if same and not route.removed() and mask_conf_of(file).get("method") != "head_only":
        raise EmptyRoute(f"{file.path}: the route is empty: its method left the upstream as it was. Train it first")


def decode_on(file: RouteFile, frontend: MaskedUpstream) -> Route:
    """The route of a file, decoded with the weights of this base. Raises InputError for another base or other sites."""
    parameters = dict(frontend.expert.named_parameters())
    shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    file.check_base(hexadecimal(getattr(frontend, FINGERPRINT)), shapes)
    if file.coded:
        check_sites(file, frontend.expert)
    return file.decode({name: parameters[name] for name in file.coded})


def check_sites(file: RouteFile, expert: nn.Module) -> None:
    """Raises InputError unless the masks lie on exactly the sites of the method."""
    name, options = resolve(mask_conf_of(file))
    if not METHODS[name].masks:
        raise InputError(f"{file.path}: holds masks, but its method is {name}, which has none. Write the route again")
    sites = {site.name for site in sites_of(expert, options.targets, options.ranking, options.layers)}
    odd = sorted(sites ^ file.coded.keys())
    if odd:
        kind = "lacks the mask of" if odd[0] in sites else "holds the extra mask"
        raise InputError(
            f"{file.path}: {kind} {odd[0]}, expected masks on targets {options.targets!r}. Write the route again"
        )


def mask_conf_of(file: RouteFile) -> dict[str, Any]:
    """The options of the method. JSON has turned the layer numbers of layer_sparsity into texts."""
    conf = dict(file.header["config"]["frontend_conf"]["mask_conf"])
    if isinstance(conf.get("layer_sparsity"), dict):
        conf["layer_sparsity"] = {
            int(layer) if layer.isdecimal() else layer: value for layer, value in conf["layer_sparsity"].items()
        }
    return conf


def place(file: RouteFile, part: str, tensors: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
    """Copy the tensors of a part into the model. Raises InputError for unknown names, wrong shapes and missing tensors."""
    for name, tensor in tensors.items():
        if name not in targets:
            raise InputError(f"{file.path}: {part} tensor {name} has no place in the model. Write the route again")
        if tensor.shape != targets[name].shape:
            raise InputError(
                f"{file.path}: {part} tensor {name} has shape {tuple(tensor.shape)}, expected {tuple(targets[name].shape)}"
            )
    missing = [name for name in targets if part == "head" and name not in tensors]
    if missing:
        raise InputError(f"{file.path}: the head lacks {missing[0]}. Write the route again")
    with torch.no_grad():
        for name, tensor in tensors.items():
            targets[name].copy_(tensor)


def base_weights(file: RouteFile, source: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """The tensors of the base that the masks of a file lie on; arguments and errors as for ``load_model``."""
    frontend = MaskedUpstream(**frontend_options(file, source))
    parameters = dict(frontend.expert.named_parameters())
    file.check_base(hexadecimal(getattr(frontend, FINGERPRINT)), {name: tuple(p.shape) for name, p in parameters.items()})
    return {name: parameters[name].detach() for name in file.coded}
