"""Counts of an experiment's upstream: parameters, bytes and MACs per second of audio, dense against pruned."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.deployment.bake import load_experiment
from espnet_s3router.plugin.frontend import FRONTEND_NAME
from espnet_s3router.plugin.upstreams.build import load_upstream
from espnet_s3router.upstreams import family_of
from espnet_s3router.upstreams.count import SAMPLE_RATE, macs, parameters, steps_of
from espnet_s3router.upstreams.structure import Structure, Widths, structure_of

BYTES = 4
"""Bytes of a parameter in float32."""


def count_experiment(train_config: Path, model_file: Path, *, task: str = "asr", seconds: float = 10.0) -> dict[str, Any]:
    """Counts of the upstream of a finished experiment (see ``counts``) before and after its units were removed.

    A model with gates counts as the one that ``shrink_experiment`` would write. Raises InputError for a length that is no
    time above 0, and for audio that is too short for one frame.
    """
    if not 0 < seconds < float("inf"):
        raise InputError(f"seconds is {seconds}, expected the length of an utterance, such as 10")
    model, args = load_experiment(train_config, model_file, task)
    if args.frontend != FRONTEND_NAME:
        raise InputError(f"{train_config}: frontend is {args.frontend}, expected {FRONTEND_NAME}")
    frontend = model.frontend
    # from the upstream without the method, whose scores and gates are no weights
    pruned = dense = _structure(frontend.source)
    if "shrunk" in frontend.source:
        dense = _structure({key: value for key, value in frontend.source.items() if key != "shrunk"})
    widths = frontend.attached.widths() or pruned.widths
    return {
        "upstream": frontend.source.get("upstream"),
        "method": frontend.attached.method,
        "seconds": seconds,
        "dense": counts(dense, seconds=seconds),
        "pruned": counts(pruned, seconds=seconds, widths=widths) | {"widths": asdict(widths)},
    }


def _structure(source: dict[str, Any]) -> Structure:
    upstream: Any = load_upstream(source)
    return structure_of(upstream.upstream, family_of(upstream.upstream))


def counts(structure: Structure, *, seconds: float, widths: Widths | None = None) -> dict[str, Any]:
    """``parameters``, ``bytes`` (float32) and ``macs_per_second`` of an utterance of ``seconds``, each by part and in
    ``total``. 1 MAC = 2 FLOPs. InputError for audio that is too short for one frame."""
    if steps_of(structure, int(seconds * SAMPLE_RATE)).latent < 1:
        raise InputError(
            f"seconds is {seconds}, which is too short for one frame of this upstream. Expected a longer utterance"
        )
    sizes = parameters(structure, widths)
    rates = {part: round(count / seconds) for part, count in macs(structure, seconds, widths).items()}
    total = {
        "parameters": sum(sizes.values()),
        "macs_per_second": round(sum(macs(structure, seconds, widths).values()) / seconds),
    }
    return {
        "parameters": sizes | {"total": total["parameters"]},
        "bytes": {part: BYTES * count for part, count in sizes.items()} | {"total": BYTES * total["parameters"]},
        "macs_per_second": rates | {"total": total["macs_per_second"]},
    }
