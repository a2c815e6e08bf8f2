"""``Base``: the upstream in memory that all routes of a bank share."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.deployment.route_model import build_on, frontend_options, place
from espnet_s3router.plugin.frontend import MaskedUpstream
from espnet_s3router.routes import RouteFile
from espnet_s3router.routes.switch import Switch

SHARED = ("normalize", "extra_conf", "tile_factor")
"""Keys of the inner frontend_conf in which all routes of a bank must agree: they belong to the upstream."""


class Base:
    """The unchanged upstream that a route names, and a switch that applies routes to it.

    Raises InputError if the upstream cannot be loaded.

    Args:
        file: a route on this base.
        source: upstream and path, instead of those that ``file`` names.
        device: where the base lies.
    """

    def __init__(self, file: RouteFile, source: Mapping[str, Any] | None, device: torch.device) -> None:
        options = frontend_options(file, source) | {"mask_conf": {"method": "head_only"}}
        try:
            frontend = MaskedUpstream(**options)
        except InputError as error:
            raise InputError(
                f"{file.path}: its base cannot be loaded: {error}. A relative path holds in the folder of the recipe: go "
                "there, or give the base (source in Python, --upstream and --path_or_url on the command line)"
            ) from error
        self.frontend = frontend.to(device).eval().requires_grad_(False)
        self.switch = Switch(dict(self.frontend.expert.named_parameters()))
        self._source, self._device = source, device
        self._shared = self._options_of_upstream(file)

    def check(self, file: RouteFile) -> None:
        """Raises InputError for a route whose upstream has other options."""
        for key, value in self._options_of_upstream(file).items():
            if value != self._shared[key]:
                others = self._shared[key]
                raise InputError(
                    f"{file.path}: its upstream has {key}: {value}, the other routes have {others}. Use another bank"
                )

    def _options_of_upstream(self, file: RouteFile) -> dict[str, Any]:
        conf = frontend_options(file, self._source).get("frontend_conf") or {}
        return {key: conf.get(key) for key in SHARED}

    def model(self, file: RouteFile) -> Any:
        """ESPnet's model with the head of a route, on the shared upstream as it is at each forward pass."""
        return build_on(file, self._view(file)).to(self._device).requires_grad_(False)

    def _view(self, file: RouteFile) -> MaskedUpstream:
        """The shared frontend with the layers and layer weights of a route."""
        from s3prl.nn import Featurizer

        options = frontend_options(file, self._source)
        layer = options.get("layer", -1)
        view = copy.copy(self.frontend)
        view._modules = dict(view._modules)
        view.layer, view.multilayer_feature = layer, options.get("multilayer_feature", False)
        view.featurizer = Featurizer(view.upstream, layer_selections=None if layer == -1 else [layer])
        targets: dict[str, nn.Parameter] = dict(view.featurizer.named_parameters())
        place(file, "featurizer", file.part("featurizer"), targets)
        return view
