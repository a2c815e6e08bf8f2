"""Shrinking an experiment that removes whole units: a smaller model with the same outputs, in a folder of its own."""

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
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
from espnet_s3router.methods.structured.removal import Structured
from espnet_s3router.plugin.checkpoint import FINGERPRINT, FRONTEND_KEYS, whole_hexadecimal
from espnet_s3router.plugin.deployment.bake import TASKS, bake_upstream, load_experiment
from espnet_s3router.plugin.deployment.count import counts
from espnet_s3router.plugin.frontend import FRONTEND_NAME
from espnet_s3router.progress import progress
from espnet_s3router.upstreams.count import SAMPLE_RATE
from espnet_s3router.upstreams.structure import structure_of

UPSTREAM = "upstream.safetensors"
"""Name of the file of the smaller upstream."""
SECONDS = 10.0
"""Length of the utterance whose MACs count, for methods without an option for it."""
TOLERANCE = 1e-5
"""The largest difference between a gated and an extracted model in float32, relative to the largest output."""
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
    if not isinstance(attached, Structured) and not attached.masks:
        raise NothingToShrink(
            f"{train_config}: method {attached.method} removes no units, so nothing can shrink. Expected method "
            f"{' or '.join(name for name, row in METHODS.items() if row.units)}, or masks with ranking: units"
        )
    if sparsity is not None:
        if not isinstance(attached, NestedHj):
            raise InputError(f"{train_config}: a sparsity can be chosen only in a run of method hj with several sizes")
        attached.choose(sparsity)
    out = out.resolve()  # config.yaml names the file of the upstream, for decoding from any directory
    expected = [hidden_states(model, wave) for wave in progress(waves, "trained model", "recording")]
    head = {key: t.clone() for key, t in model.state_dict().items() if not key.startswith(FRONTEND_KEYS + "upstream.")}
    del head[FRONTEND_KEYS + FINGERPRINT]
    target, reached, seconds = asked_and_reached(attached)
    if not isinstance(attached, Structured):
        bake_upstream(frontend.expert)  # refuses masks of several languages
    places, kept = fold(attached)
    dense_structure = structure_of(frontend.expert, frontend.family)
    if not isinstance(attached, Structured) and all(len(kept[place.name]) == place.size for place in places):
        raise NothingToShrink(
            f"{train_config}: method {attached.method} with ranking {attached.config.get('ranking')} has removed no whole "
            "unit, so nothing can shrink. Train with ranking: units, which removes units from all their matrices"
        )
    before = real_time_factor(model, waves)
    keep_units(frontend.expert, frontend.family, places, kept)
    structure = structure_of(frontend.expert, frontend.family)
    with replacing_dir(out) as folder:
        write_shrunk(
            folder / UPSTREAM,
            frontend.expert,
            frontend.family,
            base=base_of(frontend),
            upstream=str(frontend.source["upstream"]),
        )
        smaller = TASKS[task].build_model(argparse.Namespace(**shrunk_config(vars(args), folder)))
        smaller.load_state_dict(smaller.state_dict() | head)
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
    return whole_hexadecimal(getattr(frontend, FINGERPRINT))


@torch.no_grad()
def hidden_states(model: Any, wave: Tensor) -> Tensor:
    """Output (frames, dim) of the encoder for audio (samples,)."""
    model.eval()
    return model.encode(wave[None], torch.tensor([len(wave)]))[0][0]


def real_time_factor(model: Any, waves: Sequence[Tensor]) -> float:
    """Seconds that encoding takes for each second of audio (samples,), one recording at a time. Median of three."""
    if not waves:
        return 0.0
    passes = []
    for _ in progress(range(4), "speed", "pass"):  # the first one warms up
        start = time.perf_counter()
        for wave in waves:
            hidden_states(model, wave)
        passes.append(time.perf_counter() - start)
    return median(passes[1:]) / (sum(map(len, waves)) / SAMPLE_RATE)


def largest_difference(model: Any, waves: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Between outputs of ``model`` and the ``expected`` ones, relative to the largest."""
    pairs = [(hidden_states(model, wave), values) for wave, values in zip(waves, expected)]
    return max((float((ours - theirs).abs().max() / theirs.abs().max()) for ours, theirs in pairs), default=0.0)
