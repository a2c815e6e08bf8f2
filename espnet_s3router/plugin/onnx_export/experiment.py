"""A trained experiment as ONNX: the folder is put in place only after onnxruntime gave the text of the trained model."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_s3router.deploy.shrink import shrink
from espnet_s3router.errors import InputError
from espnet_s3router.exported import graph, layout
from espnet_s3router.exported.libraries import need
from espnet_s3router.exported.quantize import quantize
from espnet_s3router.exported.session import Session, check_length
from espnet_s3router.files import replacing_dir
from espnet_s3router.plugin.best_path import best_path
from espnet_s3router.plugin.deployment.bake import bake_upstream, load_experiment, outputs
from espnet_s3router.plugin.frontend import FRONTEND_NAME
from espnet_s3router.plugin.onnx_export.encoders import longest_of, receptive_field
from espnet_s3router.plugin.onnx_export.model import WaveformCTC
from espnet_s3router.plugin.onnx_export.write import description_of, graph_of
from espnet_s3router.progress import progress

KINDS = {"fp32": layout.MODEL, "int8": layout.INT8}
"""What can be written, and the names of the files."""
REPORT = "export.json"
Texts = dict[str, str]
Gate = Callable[[Texts, Texts], dict[str, Any]]
"""(texts of the trained model, texts of the int8 model) -> what the report says. Raises InputError for a loss too large."""


def export_experiment(
    train_config: str | Path,
    model_file: str | Path,
    out: str | Path,
    waves: Mapping[str, Callable[[], Tensor]],
    *,
    kinds: Sequence[str] = ("fp32",),
    gate: Gate,
) -> dict[str, Any]:
    """Write ``out`` in the layout of ``exported.layout``, and return the report, which lies there too.

    Units that the method of a run has closed are removed first, so the graph is that of the smaller model.

    Args:
        waves: readers of real audio (samples,) at 16 kHz by utterance. On each, the model in 32 bits must give the text of
            the trained model. Recordings that are longer than the graph takes at a time are left out.
        kinds: fp32, int8 or both.
        gate: judges the texts of the int8 model.

    Raises:
        InputError: the model cannot be exported, libraries are missing, ``out`` exists, texts differ, or ``gate`` refuses.
    """
    out = Path(out)
    check_request(out, waves, kinds)
    model, args = load_experiment(Path(train_config), Path(model_file), "asr")
    if args.frontend != FRONTEND_NAME:
        raise InputError(f"{train_config}: frontend is {args.frontend}, expected {FRONTEND_NAME}")
    frontend, blank = model.frontend, model.blank_id
    spelled = layout.vocabulary(args.token_list, blank, args.token_type or "char")
    compared = list(usable(waves, train_config, model))
    expected = {key: outputs(model, waves[key]()) for key in compared}
    plain_weights(frontend)
    whole = WaveformCTC(model, str(train_config))
    description = replace(description_of(whole, frontend), token_type=args.token_type or "char")
    proto = graph_of(whole, str(train_config))
    with replacing_dir(out) as folder:
        layout.write_vocabulary(folder, spelled)
        layout.write_description(folder, description)
        graph.save(proto, folder / layout.MODEL)
        report = compare(Session(folder / layout.MODEL, description), waves, expected, blank, out)
        texts = {key: layout.text_of(spelled, best_path(values, blank)[0]) for key, values in expected.items()}
        if "int8" in kinds:
            report |= quantize(folder / layout.MODEL, folder / layout.INT8)
            session = Session(folder / layout.INT8, description)
            report |= gate(texts, dict(transcribed(session, waves, expected, spelled, blank)))
        if "fp32" not in kinds:
            for path in folder.glob(f"{layout.MODEL}*"):
                path.unlink()
        report["bytes"] = {path.name: path.stat().st_size for path in sorted(folder.glob("*.onnx*"))}
        (folder / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def check_request(out: Path, waves: Mapping[str, Any], kinds: Sequence[str]) -> None:
    """Raises InputError for a request that would fail after minutes."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise InputError(f"an export of {' '.join(kinds) or 'nothing'} was asked for, expected some of {', '.join(KINDS)}")
    if out.exists():
        raise InputError(f"{out} exists already: remove it or choose another folder")
    if not waves:
        raise InputError("there is no recording to compare the models on. Give at least one")
    for name in ("onnx", "onnxruntime", "onnxscript"):
        need(name)


def plain_weights(frontend: Any) -> None:
    """Write masks or gates into plain weights, in place, and remove the units that they have closed."""
    if frontend.attached.widths() is not None:
        shrink(frontend.attached)
    else:
        bake_upstream(frontend.expert)


def usable(waves: Mapping[str, Callable[[], Tensor]], where: str | Path, model: Any) -> Iterator[str]:
    """The utterances that the graph takes at once. Raises InputError if there is none."""
    found = False
    description = limits(model)
    for key, read in progress(waves.items(), "trained model", "recording"):
        try:
            check_length(len(read()), description)
        except InputError as error:
            refused = error
            continue
        found = True
        yield key
    if not found:
        raise InputError(f"{where}: no recording can be compared: {refused}")


def limits(model: Any) -> layout.Description:
    """The lengths that the graph of a model takes, before the model is taken apart."""
    expert = model.frontend.expert
    return layout.Description(first_frame=receptive_field(expert), longest=longest_of(expert))


def compare(
    session: Session, waves: Mapping[str, Callable[[], Tensor]], expected: Mapping[str, Tensor], blank: int, out: Path
) -> dict[str, Any]:
    """Compare the graph with the trained model. Raises InputError, which names the recordings, where the text differs."""
    different, largest = [], 0.0
    for key, values in expected.items():
        got = torch.from_numpy(session.log_probs(waves[key]().numpy()))
        largest = max(largest, float((got - values[: len(got)]).abs().max()))
        if best_path(got, blank)[0] != best_path(values, blank)[0]:
            different.append(key)
    if different:
        raise InputError(
            f"{out}: was not written: onnxruntime gives another text than the trained model on {len(different)} of "
            f"{len(expected)} recordings, for example {different[0]} (largest difference {largest:.2g})"
        )
    return {"compared_on": len(expected), "largest_difference": largest}


def transcribed(
    session: Session,
    waves: Mapping[str, Callable[[], Tensor]],
    keys: Iterable[str],
    spelled: Sequence[str],
    blank: int,
) -> Iterator[tuple[str, str]]:
    """(utterance, text of a graph)."""
    for key in keys:
        log_probs = torch.from_numpy(session.log_probs(waves[key]().numpy()))
        yield key, layout.text_of(spelled, best_path(log_probs, blank)[0])
