"""Routes of ESPnet experiments: from a trained experiment to a route file.

A route is put in place only after a model built from it gave the outputs of the trained model, bit for bit.
"""

import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.masks.names import original_key
from espnet_s3router.methods import METHODS
from espnet_s3router.plugin.checkpoint import FINGERPRINT, FRONTEND_KEYS, hexadecimal
from espnet_s3router.plugin.deployment.bake import check_outputs, load_experiment, outputs
from espnet_s3router.plugin.deployment.half import in_16_bits, round_where_text_stays
from espnet_s3router.plugin.deployment.route_model import FRONTEND_OPTIONS, MODEL_OPTIONS, load_model
from espnet_s3router.plugin.frontend import FRONTEND_NAME, MaskedUpstream
from espnet_s3router.plugin.masked_hugging_face import POSTENCODER_NAME
from espnet_s3router.routes import Route, RouteFile, write_route
from espnet_s3router.routes.file import check_target

ALLOWED_NORMALIZE = (None, "utterance_mvn")


class NoRoute(InputError):
    """A route cannot hold what the experiment learned."""


def write_experiment(
    train_config: str | Path,
    model_file: str | Path,
    out: str | Path,
    *,
    task: str = "asr",
    metadata: Mapping[str, Any] | None = None,
    decoding: Mapping[str, Any] | None = None,
    same_text: Sequence[Tensor] = (),
) -> RouteFile:
    """Write the route file ``out`` of a trained experiment, and return what a reader gets.

    Args:
        metadata: language, corpus, metrics, licence and the like, added to method, options, task and seed.
        decoding: options of the decoder that belong to the route.
        same_text: audio (samples,) at the rate of the frontend. Parts whose rounding leaves its best-path text the same are
            stored in 16 bits, the others in 32.

    Raises:
        NoRoute: the method changes weights of the base, for example.
        InputError: the file would not give the outputs of the trained model, or the experiment is broken.
    """
    check_target(out)
    model, args = load_experiment(Path(train_config), Path(model_file), task)
    route, weights = route_of(model, args, task, metadata or {}, decoding or {}, train_config)
    if same_text:
        rounded = set(round_where_text_stays(model, learned_tensors(model), same_text))
        tensors = {name: in_16_bits(tensor) if name in rounded else tensor for name, tensor in route.tensors.items()}
        route = replace(route, tensors=tensors)
    waves = [*same_text, speech_like(2.0), speech_like(0.7, pitch=220.0)]
    expected = [outputs(model, wave) for wave in waves]

    def check(file: RouteFile) -> None:
        check_outputs(load_model(file), waves, expected, f"{out}: was not written")

    return write_route(out, route, weights, check)


def learned_tensors(model: Any) -> dict[str, Tensor]:
    """All tensors of a route but its masks, as the model holds them, by ``PART/NAME``."""
    frontend: MaskedUpstream = model.frontend
    attached = frontend.attached
    scores = attached.scores
    learned = {name: p for name, p in (attached.trained | attached.saved).items() if id(p) not in scores}
    learned.pop(str(frontend.family.mask_embedding), None)  # acts in training only
    tensors: dict[str, Tensor] = {f"upstream/{name}": parameter for name, parameter in learned.items()}
    tensors |= {f"featurizer/{name}": p for name, p in frontend.featurizer.named_parameters() if p.requires_grad}
    return tensors | {f"head/{name}": t for name, t in model.state_dict().items() if not name.startswith(FRONTEND_KEYS)}


def route_of(
    model: Any, args: Namespace, task: str, metadata: Mapping[str, Any], decoding: Mapping[str, Any], where: object
) -> tuple[Route, dict[str, Tensor]]:
    """(the route of a trained model, the tensors of the base that its masks lie on)."""
    refuse(model, args, where)
    frontend: MaskedUpstream = model.frontend
    attached, expert = frontend.attached, frontend.expert
    tensors = {name: tensor.detach().clone() for name, tensor in learned_tensors(model).items()}
    for name in attached.packed:
        tensors[f"upstream/{name}"] = tensors[f"upstream/{name}"].to(torch.uint8)
    config = {name: value for name, value in vars(args).items() if name.removesuffix("_conf") in MODEL_OPTIONS}
    config["frontend_conf"] = {name: args.frontend_conf[name] for name in FRONTEND_OPTIONS if name in args.frontend_conf}
    config["frontend_conf"]["mask_conf"] = frontend.mask_conf
    facts = {"task": task, "method": attached.method, "options": attached.config, "seed": args.seed}
    route = Route(
        base=hexadecimal(getattr(frontend, FINGERPRINT)),
        masks={name: masked.mask for name, masked in attached.masks.items()},
        candidates=attached.candidates,
        tensors=tensors,
        tokens=list(args.token_list),
        config=config | {"decoding": dict(decoding)},
        metadata=dict(metadata) | facts,
    )
    return route, {name: expert.get_parameter(original_key(name)).detach() for name in route.masks}


def refuse(model: Any, args: Namespace, where: object) -> None:
    """Raises NoRoute for an experiment that a route cannot hold."""
    if args.frontend != FRONTEND_NAME:
        raise NoRoute(f"{where}: frontend is {args.frontend}, expected {FRONTEND_NAME}")
    attached = model.frontend.attached
    if attached.method == "pathways":
        raise NoRoute(f"{where}: holds several languages. Write each with s3router language first, then its route")
    if METHODS[attached.method].finetunes or attached.method == "routing_prune" or attached.config.get("train_weights"):
        raise NoRoute(
            f"{where}: method {attached.method} changes weights of the base, so a route would be as large as the model. "
            "Nothing was written. Share it with python -m espnet2.bin.pack, or bake it with s3router bake"
        )
    if POSTENCODER_NAME in (getattr(args, "postencoder", None), getattr(args, "deliberationencoder", None)):
        raise NoRoute(f"{where}: a route cannot hold the masks of a text model ({POSTENCODER_NAME}). Share the model file")
    if getattr(args, "use_adapter", False):
        raise NoRoute(f"{where}: a route cannot hold ESPnet's own adapters (use_adapter). Use method lora instead")
    if args.normalize not in ALLOWED_NORMALIZE:
        raise NoRoute(f"{where}: normalize is {args.normalize}, which needs a file of statistics; expected none")


def speech_like(seconds: float, pitch: float = 120.0, rate: int = 16000) -> Tensor:
    """A voiced sound (samples,) with syllables and noise, the same on every call."""
    time = torch.arange(int(seconds * rate)) / rate
    voice = torch.stack([torch.sin(2 * math.pi * pitch * n * time) / n for n in range(1, 20)]).sum(dim=0)
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    return (0.1 * voice * torch.sin(math.pi * 4 * time) ** 2 + 0.01 * noise).float()
