"""A folder of routes as one graph in ONNX: every language must give the text of its own model."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.exported import graph, layout
from espnet_s3router.files import replacing_dir
from espnet_s3router.plugin.best_path import best_path
from espnet_s3router.plugin.deployment.bake import outputs
from espnet_s3router.plugin.deployment.route_model import load_model
from espnet_s3router.plugin.onnx_export.bank import bank_graph
from espnet_s3router.plugin.onnx_export.experiment import check_request, usable
from espnet_s3router.routes import open_route, routes_in
from espnet_s3router.serving.onnx_bank import OnnxBank

UNCUT_S = 24 * 3600.0
"""Texts are compared on whole recordings: those of windows may differ."""


def export_bank(
    folder: str | Path,
    out: str | Path,
    waves: Mapping[str, Callable[[], Tensor]],
    source: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write ``out``: model.onnx, config.json and the route file of each language. Returns the report.

    ``waves``: readers of real audio (samples,) at 16 kHz. ``source``: another upstream and path than those that the routes
    name. Raises InputError for routes that one graph cannot hold, and where a text differs from that of the route's model.
    """
    out = Path(out)
    check_request(out, waves, ["fp32"])
    paths = routes_in(folder)
    files = [open_route(path) for path in paths]
    expected: dict[str, dict[str, list[int]]] = {}
    for path, file in zip(paths, files):
        model = load_model(file, source)
        expected[path.stem] = {key: best_path(outputs(model, waves[key]()))[0] for key in usable(waves, path, model)}
    model, description = bank_graph(files, source)
    with replacing_dir(out) as made:
        layout.write_description(made, description)
        graph.save(model, made / layout.MODEL)
        for path in paths:
            shutil.copyfile(path, made / path.name)
        check_languages(OnnxBank(made, window_s=UNCUT_S), waves, expected, out)
        sizes = {path.name: path.stat().st_size for path in sorted(made.iterdir()) if path.suffix != ".json"}
    return {"languages": [path.stem for path in paths], "compared_on": len(expected[paths[0].stem]), "bytes": sizes}


def check_languages(
    bank: OnnxBank, waves: Mapping[str, Callable[[], Tensor]], expected: Mapping[str, Mapping[str, list[int]]], out: Path
) -> None:
    """Raises InputError where a language gives other tokens than its model. Languages alternate, as in use."""
    for key in next(iter(expected.values())):
        for lang, tokens in expected.items():
            if best_path(bank.log_probs(waves[key](), lang))[0] != tokens[key]:
                raise InputError(f"{out}: was not written: {lang} gives another text than its route on {key}")
