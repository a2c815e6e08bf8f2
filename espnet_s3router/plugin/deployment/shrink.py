"""Shrinking an experiment that removes whole units: a smaller model with the same outputs, in a folder of its own."""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from espnet_s3router.deploy.file import read_shrunk, write_shrunk
from espnet_s3router.deploy.resize import keep_units
from espnet_s3router.deploy.shrink import fold
from espnet_s3router.errors import InputError
from espnet_s3router.files import replacing_dir
from espnet_s3router.methods import METHODS, Attached
from espnet_s3router.methods.structured.nested import NestedHj
from espnet_s3router.methods.structured.place import Place
from espnet_s3router.methods.structured.removal import Structured
from espnet_s3router.plugin.checkpoint import FINGERPRINT, FRONTEND_KEYS, hexadecimal
from espnet_s3router.plugin.deployment.bake import TASKS, bake_upstream, load_experiment
from espnet_s3router.plugin.deployment.count import counts
from espnet_s3router.plugin.deployment.encoding import hidden_states, largest_difference, real_time_factor
from espnet_s3router.plugin.frontend import FRONTEND_NAME
from espnet_s3router.progress import progress
from espnet_s3router.upstreams.structure import structure_of

UPSTREAM = "upstream.safetensors"
"""Name of the file of the smaller upstream."""
SECONDS = 10.0
"""Length of the utterance whose MACs count, for methods without an option for it."""
TOLERANCE = 1e-4
"""The largest difference between a gated and an extracted model in float32, relative to the largest output. Rounding stays
below 1e-5 as a rule, and reaches 1.1e-5 where one channel of eight is left. A unit too many or too few makes far more."""
_OF_TRAINING = ("distill", "latent_masking")
"""Options of the frontend that only training uses. Their tensors are no part of a shrunk upstream."""


class NothingToShrink(InputError):
    """An experiment removes no whole unit."""


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """What was written."""

    folder: Path
    largest_difference: float
    """Between outputs of both models, relative to the largest output; 0 if no audio was compared."""
    dense: dict[str, Any]
    """Counts of the upstream before pruning (see ``count``)."""
    pruned: dict[str, Any]
    """Counts of the smaller upstream, from its tensors."""
    target: float
    """The sparsity that the run was to reach."""
    reached: float
    """The sparsity of the smaller upstream, by count. Both are of the first constraint of method hj, or shares of the units
    that masks lie on."""
    dense_rtf: float
    """Real-time factor of the model before units are removed, without gates and masks: seconds to encode a second of audio,
    the median of three passes. 0 if there is no audio."""
    rtf: float
    """The same for the smaller model."""


def shrink_experiment(
    train_config: Path,
    model_file: Path,
    out: str | Path,
    *,
    task: str = "asr",
    waves: Sequence[Tensor] = (),
    sparsity: float | None = None,
) -> Shrunk:
    """Write ``out``/{config.yaml,model.pth,upstream.safetensors}, an experiment that decodes and finetunes like any other.

    ``sparsity`` is a size of a run with several, by default the one of its option ``sparsity``. Both models are compared on
    ``waves``, audio (samples,) at the rate of the frontend, before ``out`` is put in place.
    Raises InputError when ``out`` exists or when outputs differ, and NothingToShrink when no whole unit is removed.
    """
    out = Path(out)
    if out.exists():
        raise InputError(f"{out} exists already: remove it or choose another folder")
    model, args = load_experiment(train_config, model_file, task)
    if args.frontend != FRONTEND_NAME:
        raise InputError(f"{train_config}: frontend is {args.frontend}, expected {FRONTEND_NAME}")
    frontend, attached = model.frontend, model.frontend.attached
    check_removal(attached, sparsity, str(train_config))
    out = out.resolve()  # config.yaml names the file of the upstream, for decoding from any directory
    expected = [hidden_states(model, wave) for wave in progress(waves, "trained model", "recording")]
    head = {key: t.clone() for key, t in model.state_dict().items() if not key.startswith(FRONTEND_KEYS + "upstream.")}
    del head[FRONTEND_KEYS + FINGERPRINT]
    target, reached, seconds = asked_and_reached(attached)
    places, kept = fold_units(frontend, str(train_config))
    dense_structure, before = structure_of(frontend.expert, frontend.family), real_time_factor(model, waves)
    keep_units(frontend.expert, frontend.family, places, kept)
    structure = structure_of(frontend.expert, frontend.family)
    with replacing_dir(out) as folder:
        smaller = rebuilt(frontend, shrunk_config(vars(args), folder), head, folder / UPSTREAM, task)
        difference = largest_difference(smaller, waves, expected)
        if difference > TOLERANCE:
            raise InputError(
                f"{out}: was not written: outputs differ by {difference:.1e} of the largest, expected {TOLERANCE} at most"
            )
        after = real_time_factor(smaller, waves)
        torch.save(smaller.state_dict(), folder / "model.pth")
        config = yaml.safe_dump(shrunk_config(vars(args), out), sort_keys=False, allow_unicode=True)
        (folder / "config.yaml").write_text(config, encoding="utf-8")
    logging.info(f"shrunk: {out}")
    return Shrunk(
        folder=out,
        largest_difference=difference,
        dense=counts(dense_structure, seconds=seconds),
        pruned=counts(structure, seconds=seconds) | {"widths": asdict(structure.widths)},
        target=target,
        reached=reached,
        dense_rtf=before,
        rtf=after,
    )


def rebuilt(frontend: Any, config: dict[str, Any], head: dict[str, Tensor], file: Path, task: str) -> Any:
    """Write the smaller upstream of ``frontend`` to a file; return the model of ``config`` that is built from it, with the
    tensors ``head`` outside the upstream."""
    write_shrunk(file, frontend.expert, frontend.family, base=base_of(frontend), upstream=str(frontend.source["upstream"]))
    model = TASKS[task].build_model(argparse.Namespace(**config))
    model.load_state_dict(model.state_dict() | head)
    return model


def check_removal(attached: Attached, sparsity: float | None, where: str) -> None:
    """Choose the size ``sparsity``, if one is given. Raises NothingToShrink for a method that removes no units, and
    InputError for a run without this size."""
    if not isinstance(attached, Structured) and not attached.masks:
        raise NothingToShrink(
            f"{where}: method {attached.method} removes no units, so nothing can shrink. Expected method "
            f"{' or '.join(name for name, row in METHODS.items() if row.units)}, or masks with ranking: units"
        )
    if sparsity is not None:
        if not isinstance(attached, NestedHj):
            raise InputError(f"{where}: a sparsity can be chosen only in a run of method hj with several sizes")
        attached.choose(sparsity)


def fold_units(frontend: Any, where: str) -> tuple[list[Place], dict[str, Tensor]]:
    """See ``fold``. Raises InputError for masks of several languages, and NothingToShrink for masks that remove no whole
    unit."""
    attached = frontend.attached
    if isinstance(attached, Structured):
        return fold(attached)
    bake_upstream(frontend.expert)
    places, kept = fold(attached)
    if all(len(kept[place.name]) == place.size for place in places):
        raise NothingToShrink(
            f"{where}: method {attached.method} with ranking {attached.config.get('ranking')} has removed no whole "
            "unit, so nothing can shrink. Train with ranking: units, which removes units from all their matrices"
        )
    return places, kept


def asked_and_reached(attached: Attached) -> tuple[float, float, float]:
    """(the sparsity that was asked for, the one that is reached, seconds of the utterance whose MACs count)."""
    if isinstance(attached, Structured):
        return attached.constraints[0].target, attached.reached()[0], attached.options.seconds
    kept = torch.cat([mask.flatten() for mask in attached.kept().values()])
    return attached.config.get("sparsity") or 0.0, 1.0 - float(kept.double().mean()), SECONDS


def shrunk_config(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The configuration of an experiment that has trained a head on the smaller upstream in ``folder``."""
    conf = {key: value for key, value in config["frontend_conf"].items() if key not in _OF_TRAINING}
    conf["frontend_conf"] = dict(conf["frontend_conf"]) | {"shrunk": str(folder / UPSTREAM)}
    return config | {"frontend_conf": conf | {"mask_conf": {"method": "head_only"}}, "init": None}


def base_of(frontend: Any) -> str:
    """Fingerprint of the pretrained upstream that a shrunk one comes from, also if it was pruned before."""
    source = frontend.source.get("shrunk")
    if source is not None:
        return read_shrunk(Path(source), "shrunk")[1]["base"]
    return hexadecimal(getattr(frontend, FINGERPRINT))
