"""Recipes of structured pruning: a sweep end to end on a toy upstream, and rows that ESPnet builds."""

import csv
import json
import math
import shutil

import onnx
import pytest
import torch
import yaml
from safetensors.torch import load_file

from espnet_s3router.experiments import deploy, sweep
from espnet_s3router.files import read_yaml
from espnet_s3router.text_format import scaled
from tests.recipes.conftest import as_words, call
from tests.recipes.test_confs import EGS, dry_run, grid

RUN = "asr_hj_macs_s0.4_seed0"
CONTROL = "asr_omp_units_s0.4_seed0"
HJ1 = ("asterisk/hj1", "mboshi/hj1", "librispeech/hj1", "slurp/hj1")
CHANGES = {"stage": 16, "stop_stage": 16, "methods": None, "methods_config": EGS / "asterisk/hj1/conf/rows.yaml"}
CHANGES |= {"prune_methods": "hj_macs omp_units", "sparsities": 0.4, "route_utterances": 2}
CHANGES |= {"asr_args": "max_epoch=2 num_iters_per_epoch=3"}

pytestmark = pytest.mark.filterwarnings("ignore")  # ESPnet and s3prl, in this process


@pytest.fixture(scope="module")
def swept(prepared_recipes, tmp_path_factory):
    """Folder of a finished sweep: a dense model, and two that lose 40 % of its MACs."""
    folder = tmp_path_factory.mktemp("hj")
    options = prepared_recipes.options(folder / "exp", **CHANGES, results_md=folder / "RESULTS.md")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(prepared_recipes.here)
        assert call(sweep.main, as_words(options)).returncode == 0
    return folder


def test_a_run_leaves_its_smaller_model(swept):
    run = swept / "exp" / RUN
    conf = read_yaml(run / "config.yaml")["frontend_conf"]
    assert conf["mask_conf"]["start"].endswith("asr_finetune_seed0/valid.cer_ctc.ave.pth")
    assert conf["mask_conf"]["updates"] == 6
    report = json.loads((run / "shrunk.json").read_text("utf-8"))
    assert report["checked_on"] == 2 and report["difference"] <= 1e-5
    assert report["sparsity"] == pytest.approx(0.4, abs=0.03) and report["target"] == 0.4
    assert report["rtf"] > 0 and report["rtf_dense"] > 0
    described = json.loads((run / "model.json").read_text("utf-8"))
    assert described["macs"] == pytest.approx(report["macs"])
    assert read_yaml(run / "shrunk/config.yaml")["frontend_conf"]["mask_conf"] == {"method": "head_only"}
    assert not (swept / "exp/asr_finetune_seed0/shrunk").exists()


def test_rows_and_page_have_sizes_and_speed(swept):
    report = json.loads((swept / "exp" / RUN / "shrunk.json").read_text("utf-8"))
    with (swept / "exp/results.tsv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["method"] == "hj_macs"]
    measured = {row["metric"]: float(row["value"]) for row in rows if not row["set"]}
    for key in ("parameters", "macs", "rtf", "rtf_dense", "sparsity"):
        assert measured[f"shrunk_{key}"] == pytest.approx(report[key], rel=1e-3)
    assert {row["macs"] for row in rows} == {str(report["macs"])}
    page = (swept / "RESULTS.md").read_text("utf-8")
    assert "|method|target|reached|M parameters|GMACs|RTF|RTF dense|speed-up|" in page
    assert f"|hj_macs|0.4|{report['sparsity']:.4f}|" in page and "|omp_units|0.4|" in page
    for against in ("macs", "rtf"):
        (plot,) = (swept / "exp").glob(f"cer_against_{against}_*.png")
        assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_control_leaves_a_model_of_the_same_macs(swept):
    reports = [json.loads((swept / "exp" / run / "shrunk.json").read_text("utf-8")) for run in (RUN, CONTROL)]
    assert reports[1]["difference"] <= 1e-5
    assert reports[1]["macs"] == pytest.approx(reports[0]["macs"], rel=0.05)


def test_stage_17_names_and_exports_the_smaller_model(prepared_recipes, swept, capsys):
    """It is written again where it is gone. The graph in ONNX holds what is left of each matrix."""
    run = swept / "exp" / RUN
    shutil.rmtree(run / "shrunk")
    changes = CHANGES | {"prune_methods": "hj_macs", "stage": 17, "stop_stage": 17, "export": "fp32"}
    changes |= {"results_md": swept / "RESULTS.md"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(prepared_recipes.here)
        assert deploy.main(as_words(prepared_recipes.options(swept / "exp", **changes))) == 0
    report, printed = json.loads((run / "shrunk.json").read_text("utf-8")), capsys.readouterr().out
    assert f"{run}/shrunk: a smaller model, {scaled(report['parameters'])} parameters" in printed
    assert f"{run}/onnx: model.onnx" in printed and f"{RUN}: no route." in printed
    weights = load_file(run / "shrunk/upstream.safetensors")
    graph = onnx.load(run / "onnx/model.onnx").graph
    kept = {f"upstream/{name}": tensor.numel() for name, tensor in weights.items()}
    exported = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer if tensor.name in kept}
    assert len(exported) > 10 and all(kept[name] == size for name, size in exported.items())


def test_a_second_call_writes_nothing_again(swept, capsys):
    """The marker holds; a removed folder is written again."""
    from espnet_s3router.experiments.options import Options
    from espnet_s3router.experiments.single.shrinking import shrink

    run = swept / "exp" / RUN
    options = Options.read(next((swept / "exp/.options").iterdir()))
    before = (run / "shrunk/model.pth").stat().st_mtime_ns
    shrink(run, options)
    assert (run / "shrunk/model.pth").stat().st_mtime_ns == before


def test_the_smaller_model_decodes(swept):
    from espnet_s3router.plugin.deployment.bake import load_experiment

    folder = swept / "exp" / RUN / "shrunk"
    model, _ = load_experiment(folder / "config.yaml", folder / "model.pth", "asr")
    hidden, lengths = model.encode(torch.randn(1, 16000), torch.tensor([16000]))
    assert int(lengths[0]) == hidden.shape[1]


@pytest.mark.parametrize("recipe", HJ1)
def test_every_row_builds(recipe, toy_upstream, tmp_path):
    """The variants are there, with the dense model they start from, and ESPnet builds each."""
    conf = EGS / recipe / "conf"
    rows = read_yaml(conf / "rows.yaml")
    if "uniform_layers" in rows:
        rows["uniform_layers"]["frontend_conf"]["mask_conf"]["layers"] = 1  # the toy has two
    (tmp_path / "methods.yaml").write_text(yaml.safe_dump(rows), encoding="utf-8")
    specs = grid(conf / "train_asr.yaml", conf=tmp_path, source=toy_upstream)
    variants = {spec.mask_conf.get("variant") for spec in specs if spec.mask_conf["method"] == "hj"}
    assert variants >= {"size", "macs", "sep_macs"} and "finetune" in rows
    length = {spec.label: spec.config["max_epoch"] for spec in specs}
    assert length["omp_continued"] == length["hj_macs"]  # the control with the same updates
    assert rows["hj_macs_distilled"]["frontend_conf"]["distill"]["layers"]
    if "uniform" in rows:  # as long as the dense model and its pruning together
        assert length["uniform"] == length["finetune"] + length["hj_macs"] == 2 * length["omp_units"]
    for spec in specs[:2] if recipe == "mboshi/hj1" else specs:  # its rows are those of asterisk/hj1
        (folder := tmp_path / spec.name).mkdir()
        dry_run(spec, folder)
