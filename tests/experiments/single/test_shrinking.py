"""Which runs get a smaller model, and what stage 17 does with it. Commands that need ESPnet are replaced."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from espnet_s3router.bin import asr_deploy, asr_shrink
from espnet_s3router.experiments import deploy, layout
from espnet_s3router.experiments.single import deployment
from espnet_s3router.experiments.single.shrinking import shrink

UNITS = {"method": "routing", "ranking": "units", "sparsity": 0.2}
HJ = {"method": "hj", "sparsity": 0.4, "updates": 4}
MODEL = ("--inference_asr_model", "model.pth")


@pytest.fixture
def run_of(tmp_path):
    """make(mask_conf) -> the folder of a trained run."""

    def make(mask_conf):
        folder = tmp_path / "asr_run"
        folder.mkdir()
        config = {"frontend": "masked_upstream", "frontend_conf": {"mask_conf": mask_conf}}
        (folder / layout.TRAIN_CONFIG).write_text(yaml.safe_dump(config), encoding="utf-8")
        for name in ("model.pth", layout.RUN_INFO, layout.TRAINED):
            (folder / name).write_text("{}", encoding="utf-8")
        return folder

    return make


@pytest.fixture
def shrinking(monkeypatch):
    """Replaces ``asr_shrink``: ``calls`` holds its words; with ``removed`` False the run has removed no unit."""
    state = SimpleNamespace(calls=[], removed=True)

    def main(words):
        state.calls.append(words)
        given = dict(zip(words[::2], words[1::2]))
        if state.removed:
            Path(given["--out"]).mkdir()
            Path(given["--report"]).write_text('{"parameters": 3120000, "macs": 1230000000}', encoding="utf-8")

    monkeypatch.setattr(asr_shrink, "main", main)
    return state


@pytest.mark.parametrize(
    ("mask_conf", "expected"),
    [(HJ, 1), (UNITS, 1), (UNITS | {"ranking": "matrix"}, 0), ({"method": "lora"}, 0)],
    ids=["hj", "units", "matrix", "lora"],
)
def test_runs_that_remove_units(run_of, options, shrinking, mask_conf, expected):
    """Each once for a model; again where the folder is gone."""
    folder = run_of(mask_conf)
    for _ in range(2):
        shrink(folder, options(*MODEL))
        assert len(shrinking.calls) == expected
    if expected:
        (folder / layout.SHRUNK).rmdir()
        shrink(folder, options(*MODEL))
        assert len(shrinking.calls) == 2


def test_a_sparsity_that_rounds_to_no_unit(run_of, options, shrinking):
    folder, shrinking.removed = run_of(UNITS), False
    shrink(folder, options(*MODEL))
    assert shrinking.calls[0][-1] == "--if_any"
    assert not (folder / layout.SHRUNK_MARKER).exists() and deployment.read_smaller(folder) == {}


def test_stage_17(run_of, options, shrinking, monkeypatch):
    """It writes the smaller model before the rest, names it, and is finished as long as it is there."""
    folder, given = run_of(HJ), options(*MODEL)
    report = {"no_route": "method hj changes weights", "exported": "onnx", "bytes_exported": {"model.onnx": 5e6}}

    def main(words):
        assert (folder / layout.SHRUNK).is_dir()
        (folder / "onnx").mkdir()
        (folder / layout.ROUTE_INFO).write_text(json.dumps(report), encoding="utf-8")

    monkeypatch.setattr(asr_deploy, "main", main)
    monkeypatch.setattr(deployment, "deployment_marker", lambda *given: "marker\n")
    monkeypatch.setattr(deployment, "metadata", lambda *given: {})
    deployment.deploy(folder, given)
    assert deploy.lines_of([folder]) == [
        "asr_run: no route. method hj changes weights",
        f"{folder}/shrunk: a smaller model, 3.12 M parameters, 1.23 G MACs for a second of audio",
        f"{folder}/onnx: model.onnx 5.00 MB",
    ]
    assert deployment.is_deployed(folder, given)
    (folder / layout.SHRUNK).rmdir()
    assert not deployment.is_deployed(folder, given)
