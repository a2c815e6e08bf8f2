"""Many languages over one graph: weights that routes change become inputs of the graph, with the base as their default."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.exported import graph
from espnet_s3router.exported.layout import BANK_TYPE, Description
from espnet_s3router.plugin.checkpoint import FINGERPRINT, hexadecimal
from espnet_s3router.plugin.deployment.route_model import build_on, frontend_options
from espnet_s3router.plugin.frontend import MaskedUpstream
from espnet_s3router.plugin.onnx_export.model import WaveformCTC
from espnet_s3router.plugin.onnx_export.write import description_of, graph_of, route_name
from espnet_s3router.routes import RouteFile

AGREE = ("layer", "multilayer_feature", "frontend_conf")
"""Options of the frontend in which all routes must agree: they shape the graph."""


def bank_graph(files: Sequence[RouteFile], source: Mapping[str, Any] | None = None) -> tuple[Any, Description]:
    """(the graph for all routes, its description). ``source``: another upstream and path than those that the files name.

    Raises InputError for routes of other bases or options, and for routes that change more than plain weights.
    """
    first, *others = files
    shared = agreed(first, source)
    for file in others:
        if agreed(file, source) != shared or file.header["base"] != first.header["base"]:
            raise InputError(f"{file.path}: has another base or other options than {first.path}: export it alone")
    frontend = MaskedUpstream(**frontend_options(first, source) | {"mask_conf": {"method": "head_only"}}).eval()
    fingerprint = hexadecimal(getattr(frontend, FINGERPRINT))
    parameters = dict(frontend.expert.named_parameters())
    for file in files:
        file.check_base(fingerprint, {name: tuple(p.shape) for name, p in parameters.items()})
        check_changes(file, parameters.keys())
    whole = WaveformCTC(build_on(first, frontend), str(first.path), open_head=True)
    description = description_of(whole, frontend)
    values = make_distinct(whole, changed(files))
    model = graph_of(whole, str(first.path))
    graph.set_weights(model, {name: value.numpy() for name, value in values.items()})
    graph.make_replaceable(model, changed(files))
    graph.note(model, {graph.BASE: fingerprint})
    fixed = changed(files) - {value.name for value in model.graph.input}
    if fixed:
        raise InputError(f"{first.path}: {min(fixed)} is no weight of the graph, so routes cannot change it there")
    return model, replace(description, model_type=BANK_TYPE)


@torch.no_grad()
def make_distinct(whole: WaveformCTC, names: set[str]) -> dict[str, Tensor]:
    """Fill the named weights with random numbers, in place, and return what they held.

    The exporter makes one weight of two that are equal, and leaves out those that change nothing, such as biases of zero.
    """
    parameters = {route_name(name): parameter for name, parameter in whole.named_parameters()}
    values = {name: parameters[name].detach().clone() for name in sorted(names & parameters.keys())}
    generator = torch.Generator().manual_seed(0)
    for name in values:
        parameters[name].copy_(torch.rand(values[name].shape, generator=generator))
    return values


def agreed(file: RouteFile, source: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options in which all routes of a bank must agree."""
    options = frontend_options(file, source)
    return {name: options.get(name) for name in AGREE}


def changed(files: Sequence[RouteFile]) -> set[str]:
    """Names of all weights that the routes change, as in a route file."""
    masks = {f"upstream/{name}" for file in files for name in file.coded}
    others = {name for file in files for name in file.tensors if not name.startswith("head/")}
    return masks | others | {"head/ctc.ctc_lo.weight", "head/ctc.ctc_lo.bias"}


def check_changes(file: RouteFile, parameters: Any) -> None:
    """Raises InputError for a route that adds or computes tensors, as adapters do."""
    odd = sorted(name for name in file.part("upstream") if name not in parameters)
    if odd:
        method = file.header["metadata"].get("method")
        raise InputError(f"{file.path}: method {method} adds {odd[0]} to the base, which one graph for all cannot hold")
