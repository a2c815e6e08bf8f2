"""Writing a model in ONNX: the graph of a trained model, tidied, and opened again by onnxruntime."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from espnet_s3router.errors import InputError, summary
from espnet_s3router.exported import graph
from espnet_s3router.exported.layout import INPUTS, OUTPUT, Description
from espnet_s3router.exported.libraries import need
from espnet_s3router.plugin.onnx_export.encoders import receptive_field
from espnet_s3router.plugin.onnx_export.model import WaveformCTC

OPSET = 18
PARTS = {"encoder.expert.": "upstream/", "featurizer.": "featurizer/", "ctc.": "head/ctc."}
"""Beginnings of parameter names of WaveformCTC and what the file has instead: the names of a route file."""


def description_of(whole: WaveformCTC, frontend: Any) -> Description:
    """What config.json says of a model."""
    return Description(
        subsampling_factor=frontend.hop_length,
        first_frame=receptive_field(whole.encoder.expert),
        longest=whole.encoder.longest,
    )


def graph_of(whole: WaveformCTC, where: str) -> Any:
    """The ONNX graph of a model, in evaluation mode. Weights are named as in a route file: ``upstream/NAME``.

    Raises InputError, which begins with ``where``, if libraries are missing or the exporter fails.
    """
    need("onnx")
    onnxscript = need("onnxscript")
    whole.eval().requires_grad_(False)
    seconds = 1.0 if whole.encoder.longest is None else min(1.0, 0.9 * whole.encoder.longest / 16000)
    waves = 0.1 * torch.randn(2, int(16000 * seconds), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([waves.shape[1], waves.shape[1] * 2 // 3])
    axes = ({0: "batch", 1: "samples"}, {0: "batch"})
    try:
        with silent():
            program: Any = torch.onnx.export(
                whole,
                (waves, lengths),
                dynamo=True,
                input_names=list(INPUTS),
                output_names=[OUTPUT],
                dynamic_shapes=axes,
                opset_version=OPSET,
                optimize=False,
                verbose=False,
            )
            onnxscript.optimizer.optimize_ir(program.model, should_fold=keeps_weights)
            proto = program.model_proto
    except Exception as error:  # the exporter raises many types
        raise InputError(
            f"{where}: torch {torch.__version__} could not write it as ONNX: {summary(error)}. Nothing was written"
        ) from error
    graph.rename_weights(proto, route_name)
    graph.fold_transposes(proto)
    graph.name_frames(proto)
    return proto


def keeps_weights(node: Any) -> bool | None:
    """False for a node that would turn a weight into a constant without its name; None leaves it to the optimiser."""
    return False if any(value is not None and value.is_initializer() for value in node.inputs) else None


def route_name(name: str) -> str:
    """The name in a route file of a parameter of WaveformCTC."""
    for beginning, replacement in PARTS.items():
        if name.startswith(beginning):
            return replacement + name.removeprefix(beginning)
    return name


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Within the block nothing is printed, logged or warned: the exporter tells of each of its steps."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
