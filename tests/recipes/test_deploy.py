"""Stage 17 end to end on a toy upstream: routes, a baked model, their bytes on the page, and the folder of a bank."""

import csv
import json
import shutil
from dataclasses import replace

import pytest
import torch
import yaml

from espnet_s3router.experiments import deploy, grid, layout
from espnet_s3router.experiments.single import deployment
from espnet_s3router.routes import open_route
from tests.recipes.conftest import ROOT, as_words, call

pytestmark = pytest.mark.filterwarnings("ignore")  # of ESPnet and s3prl, in this process

FEW = "max_epoch=1 num_iters_per_epoch=2"
METHODS = "head_only finetune lora routing"
STAGE = {"stage": 17, "stop_stage": 17, "methods": METHODS, "route_language": "nl", "route_utterances": 2}
STAGE |= {"inference_args": "--ctc_best_path true"}
ROUTED = {"head_only": "asr_head_only_seed0", "lora": "asr_lora_seed0", "routing": "asr_routing_s0.1_seed0"}
FINETUNED = "asr_finetune_seed0"
MODEL = "valid.cer_ctc.ave.pth"


@pytest.fixture(scope="module")
def options(prepared_recipes):
    """options(expdir, **changes) -> the options of stage 17 for a grid of four methods."""

    def make(expdir, asr_args=FEW, **changes):
        return prepared_recipes.options(expdir, asr_args=asr_args, **(STAGE | changes))

    return make


@pytest.fixture(scope="module")
def deployed(prepared_recipes, options, tmp_path_factory):
    """(folder, output of stage 17): the four methods are trained and scored in exp, then deployed."""
    folder = tmp_path_factory.mktemp("deployed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(prepared_recipes.here)
        training = options(folder / "exp", stage=11, stop_stage=13)
        done = call(grid.main, as_words(replace(training, command="./run.sh --few")))
        assert done.returncode == 0, done.stderr
        more = {"results_md": folder / "RESULTS.md", "bake": "true", "routes_dir": folder / "bank", "licence": "CC0-1.0"}
        done = call(deploy.main, as_words(options(folder / "exp", **more)))
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture
def copied(deployed, tmp_path):
    """A copy of the deployed experiments, for tests that change them."""
    shutil.copytree(deployed[0] / "exp", tmp_path / "exp", symlinks=True)
    return tmp_path / "exp"


def rows(expdir, metric):
    with (expdir / "results.tsv").open(encoding="utf-8") as file:
        return {row["method"]: row for row in csv.DictReader(file, delimiter="\t") if row["metric"] == metric}


def test_routes_of_all_methods_that_have_one(deployed):
    folder, printed = deployed
    for method, name in ROUTED.items():
        experiment = folder / "exp" / name
        file, report = open_route(experiment / "nl.route"), deployment.read_report(experiment)
        assert file.header["metadata"]["method"] == method
        assert report["route"] == "nl.route" and report["checked_on"] == 2
        assert report["bytes"] == (experiment / "nl.route").stat().st_size
        assert report["bytes_masks"] == sum(len(mask.data) for mask in file.coded.values())
        assert (report["bytes_masks"] > 0) == (method == "routing")
        assert f"{experiment}/nl.route: " in printed
    assert f"{FINETUNED}: no route. " in printed and "method finetune changes weights of the base" in printed


def test_metadata(deployed):
    folder, _ = deployed
    header = open_route(folder / "exp" / ROUTED["routing"] / "nl.route").header
    assert header["config"]["decoding"]["ctc_best_path"] is True  # as the runs were decoded
    facts = header["metadata"]
    point = json.loads((folder / "exp" / ROUTED["routing"] / "point.json").read_text("utf-8"))
    assert (facts["language"], facts["task"], facts["licence"]) == ("nl", "asr", "CC0-1.0")
    assert (facts["corpus"], facts["recipe"]) == ("toy", "toy/asr1")
    assert (facts["training_set"], facts["valid_set"], facts["test_sets"]) == ("train", "dev", ["dev", "test"])
    assert (facts["seed"], facts["training_command"]) == (0, "./run.sh --few")
    assert all(facts[name] == point[name] for name in ("upstream", "variant", "commit"))
    for metric in ("cer", "wer"):
        with (folder / "exp/results.tsv").open(encoding="utf-8") as file:
            found = {(r["method"], r["set"], r["metric"]): r["value"] for r in csv.DictReader(file, delimiter="\t")}
        assert facts["metrics"][f"test_{metric}"] == pytest.approx(float(found["routing", "test", metric]), abs=0.005)


def test_outputs_on_recordings_are_those_of_the_trained_model(prepared, deployed):
    """Rounded to 16 bits where the text stays: the text is that of the trained model in any case."""
    from espnet_s3router.bin.recordings import read_waves
    from espnet_s3router.plugin.best_path import best_path
    from espnet_s3router.plugin.deployment.bake import load_experiment, outputs
    from espnet_s3router.plugin.deployment.route_model import load_model

    folder, _ = deployed
    waves = read_waves("dump/raw/whole/dev/wav.scp", 2)
    assert len(waves) == 2
    for name in ROUTED.values():
        trained, _ = load_experiment(folder / "exp" / name / "config.yaml", folder / "exp" / name / MODEL, "asr")
        loaded = load_model(folder / "exp" / name / "nl.route")
        for wave in waves:
            expected, got = outputs(trained, wave), outputs(loaded, wave)
            assert best_path(got)[0] == best_path(expected)[0]
            assert torch.allclose(got, expected, atol=0.05)


def test_the_baked_model_is_the_trained_one_for_stock_espnet(prepared, deployed):
    from espnet2.tasks.asr import ASRTask

    from espnet_s3router.bin.recordings import read_waves
    from espnet_s3router.plugin.deployment.bake import load_experiment, outputs

    folder, printed = deployed
    experiment = folder / "exp" / FINETUNED
    assert f"{experiment}/baked: a baked model" in printed and not list(experiment.glob("*.route"))
    stock, args = ASRTask.build_model_from_file(experiment / "baked/config.yaml", experiment / "baked/model.pth")
    assert args.frontend == "s3prl"
    trained, _ = load_experiment(experiment / "config.yaml", experiment / MODEL, "asr")
    for wave in read_waves("dump/raw/whole/dev/wav.scp", 2):
        assert torch.equal(outputs(stock, wave), outputs(trained, wave))
    assert not (folder / "exp" / ROUTED["routing"] / "baked").exists()


def test_bytes_of_the_files_are_rows_and_stand_on_the_page(deployed):
    folder, printed = deployed
    for metric, key in (("route_bytes", "bytes"), ("route_bytes_masks", "bytes_masks")):
        found = rows(folder / "exp", metric)
        assert found.keys() == ROUTED.keys() and not any(row["set"] for row in found.values())
        for method, name in ROUTED.items():
            assert float(found[method]["value"]) == deployment.read_report(folder / "exp" / name)[key]
    page = (folder / "RESULTS.md").read_text("utf-8")
    assert "|params trained|bytes added|route file|train time|" in page and "route file: bytes of the file" in page
    cells = {
        line.split("|")[2].split()[0]: line.split("|")[10] for line in page.splitlines() if line.startswith(("|*|", "||"))
    }
    assert cells["finetune"] == "–" and all(cells[method].endswith("B") for method in ROUTED)


def test_the_best_route_is_in_the_bank(deployed):
    """The best of all on the validation set; a bank is named by languages."""
    folder, printed = deployed
    assert [path.name for path in (folder / "bank").iterdir()] == ["nl.route"]
    with (folder / "exp/results.tsv").open(encoding="utf-8") as file:
        dev = {
            r["method"]: float(r["value"])
            for r in csv.DictReader(file, delimiter="\t")
            if (r["set"], r["metric"]) == ("dev", "cer")
        }
    best = min(dev[method] for method in ROUTED)
    (method,) = {m for m in ROUTED if f"{folder}/bank/nl.route: the route of {ROUTED[m]}, the best on dev" in printed}
    assert dev[method] == best
    assert (folder / "bank/nl.route").read_bytes() == (folder / "exp" / ROUTED[method] / "nl.route").read_bytes()


def test_the_best_route_of_a_method(prepared, options, copied, tmp_path, capsys):
    given = options(copied, routes_dir=tmp_path / "bank", routes_method="lora", bake="true", licence="CC0-1.0")
    assert deploy.main(as_words(given)) == 0
    assert "4 of 4 runs finished before" in capsys.readouterr().out
    assert open_route(tmp_path / "bank/nl.route").header["metadata"]["method"] == "lora"
    assert deploy.main(as_words(replace(given, routes_method="finetune"))) == 1
    assert "error: --routes_dir: no finished run of finetune has a route" in capsys.readouterr().err


def test_the_stage_of_the_recipe(prepared, deployed, copied):
    """As a user calls it; what is written already is checked by its marker and stays."""
    words = prepared.arguments(copied, asr_args=FEW, **STAGE, bake="true", licence="CC0-1.0", routes_dir=copied / "bank")
    printed = prepared.recipes.run("../../TEMPLATE/router1/router.sh", *words).stdout
    assert "Stage 17: " in printed and "4 of 4 runs finished before" in printed and "Stage 1:" not in printed
    assert (copied / "bank/nl.route").read_bytes() == (deployed[0] / "bank/nl.route").read_bytes()


def test_a_second_call_writes_nothing_again(prepared, options, deployed, capsys):
    folder, _ = deployed
    before = {
        path: path.stat().st_mtime_ns for path in (folder / "exp").rglob("*") if path.suffix in (".route", ".pth", ".json")
    }
    assert deploy.main(as_words(options(folder / "exp", bake="true", licence="CC0-1.0"))) == 0
    printed = capsys.readouterr().out
    assert "4 of 4 runs finished before" in printed and f"{ROUTED['lora']}/nl.route: " in printed
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({"licence": "CC-BY-4.0"}, 4),
        ({"route_language": "li"}, 4),
        ({"route_utterances": 1}, 4),
        ({"bake": "false"}, 4),
        ({"inference_config": ""}, 4),
        ({"inference_asr_model": "latest.pth"}, 0),  # after one epoch that is the same model
    ],
)
def test_other_options_make_other_files(prepared, options, deployed, changes, again):
    """The marker holds what the output depends on; nothing runs here."""
    folder, _ = deployed
    given = {"bake": "true", "licence": "CC0-1.0"}
    experiments = [folder / "exp" / name for name in (*ROUTED.values(), FINETUNED)]
    assert all(deployment.is_deployed(experiment, options(folder / "exp", **given)) for experiment in experiments)
    other = options(folder / "exp", **(given | changes))
    assert sum(not deployment.is_deployed(experiment, other) for experiment in experiments) == again


def test_a_model_that_changed(prepared, options, copied):
    """As when the run was trained again."""
    experiment, given = copied / ROUTED["lora"], options(copied, bake="true", licence="CC0-1.0")
    assert deployment.is_deployed(experiment, given)
    model = experiment / MODEL
    content = model.read_bytes()
    model.unlink()
    model.write_bytes(content + b" ")
    assert not deployment.is_deployed(experiment, given)


def test_a_route_of_another_name_replaces_the_first(prepared, options, copied):
    experiment = copied / ROUTED["lora"]
    given = options(copied, route_language="li", methods="lora")
    deployment.deploy(experiment, given.for_deployment())
    assert [path.name for path in experiment.glob("*.route")] == ["li.route"]
    assert open_route(experiment / "li.route").header["metadata"]["language"] == "li"
    (experiment / "li.route").unlink()
    assert not deployment.is_deployed(experiment, given)


def test_a_route_that_differs_is_not_put_in_place(prepared, options, copied, monkeypatch):
    """Nothing that looks finished is left: neither the file, nor the report, nor the marker."""
    from espnet_s3router.errors import InputError
    from espnet_s3router.plugin.deployment import route

    def broken(file, load=route.load_model):
        model = load(file)
        with torch.no_grad():
            model.ctc.ctc_lo.bias.add_(1e-3)
        return model

    monkeypatch.setattr(route, "load_model", broken)
    experiment, given = copied / ROUTED["lora"], options(copied, licence="CC-BY-4.0").for_deployment()
    with pytest.raises(InputError, match="nl.route: was not written: a model from it gives other outputs"):
        deployment.deploy(experiment, given)
    left = {path.name for path in experiment.iterdir()}
    assert not left & {"nl.route", layout.ROUTE_INFO, layout.DEPLOYED} and not deployment.is_deployed(experiment, given)


def test_runs_that_are_not_finished_are_named(prepared, options, copied, capsys):
    """Those that are trained but not scored, and those that were never trained."""
    shutil.rmtree(copied / ROUTED["lora"] / "decode")
    (copied / ROUTED["routing"] / ".trained").unlink()
    assert deploy.main(as_words(options(copied, methods=f"{METHODS} bitfit", licence="CC0-1.0", bake="true"))) == 0
    printed = capsys.readouterr().out
    left = f"{ROUTED['lora']}, {ROUTED['routing']}, asr_bitfit_seed0"
    assert f"3 of 5 runs are not trained and scored here: {left}" in printed and "2 of 2 runs finished before" in printed
    assert deploy.main(as_words(options(copied, methods="bitfit"))) == 1
    assert "no run of this call is trained and scored; run stages 11 to 13 first, or 16" in capsys.readouterr().err


def test_a_folder_of_another_configuration(prepared, options, copied, capsys):
    assert deploy.main(as_words(options(copied, asr_args=f"{FEW} grad_clip=1.0"))) == 1
    assert "asr_head_only_seed0 holds another configuration" in capsys.readouterr().err


def test_pruned_models_are_baked(prepared, options, tmp_path, capsys):
    """The runs of stage 16 and their dense models, without a grid beside them."""
    from espnet_s3router.experiments import sweep

    methods = tmp_path / "methods.yaml"
    conf = {name: {"frontend_conf": {"mask_conf": {"method": name}}} for name in ("finetune", "omp")}
    methods.write_text(yaml.safe_dump(conf), encoding="utf-8")
    changes = {"methods": None, "prune_methods": "omp", "sparsities": "0.5", "methods_config": methods}
    changes |= {"results_md": tmp_path / "RESULTS.md"}
    assert sweep.main(as_words(options(tmp_path / "exp", stage=16, stop_stage=16, **changes))) == 0
    assert deploy.main(as_words(options(tmp_path / "exp", bake="true", **changes))) == 0
    printed = capsys.readouterr().out
    for name in (FINETUNED, "asr_omp_s0.5_seed0"):
        assert f"{name}: no route. " in printed and (tmp_path / "exp" / name / "baked/model.pth").exists()
    baked = torch.load(tmp_path / "exp/asr_omp_s0.5_seed0/baked/model.pth", weights_only=True)
    weight = next(tensor for name, tensor in baked.items() if name.endswith("fc1.weight"))
    assert 0.2 < (weight == 0).float().mean() < 0.8
    assert "|omp|" in (tmp_path / "RESULTS.md").read_text("utf-8")


def test_the_best_run_is_packed_and_would_be_uploaded(prepared, copied, options, tmp_path):
    """Stages 14 and 15: a route with intervals on its card, and a baked model for a method without one."""
    from espnet_s3router.experiments import packing
    from espnet_s3router.zoo.archive import extract
    from espnet_s3router.zoo.meta import read_meta

    shutil.copy(ROOT / "docs/cer_against_sparsity.png", copied)  # as stage 13 draws it
    stage = {"stage": 14, "licence": "CC0-1.0", "base_licence": "MIT", "hf_repo": "jane/toy", "hf_dry_run": "true"}
    done = call(packing.main, as_words(options(copied, **stage, methods="routing", stop_stage=15)))
    assert done.returncode == 0, done.stderr
    assert "would go to jane/toy" in done.stdout and "routes/nl.route" in done.stdout
    (pack,) = (copied / "packs").glob("asr_routing*.zip")
    extract(pack, tmp_path / "pack")
    meta = read_meta(tmp_path / "pack")
    facts = meta.facts["models"]["nl"]
    low, high = facts["intervals"]["test_cer"]
    assert meta.kind == "routes" and low <= facts["metrics"]["test_cer"] <= high and facts["licence"] == "CC0-1.0"
    card = (tmp_path / "pack/README.md").read_text("utf-8")
    assert f"| nl | test | CER | {facts['metrics']['test_cer']:.1f} [{low:.1f}, {high:.1f}] |" in card
    assert "![cer against sparsity](plots/cer_against_sparsity.png)" in card
    assert (tmp_path / "pack/plots/cer_against_sparsity.png").is_file()
    done = call(packing.main, as_words(options(copied, **stage, methods="finetune", stop_stage=14)))
    assert done.returncode == 0, done.stderr
    assert "baked; opened again" in done.stdout
    (pack,) = (copied / "packs").glob("asr_finetune*.zip")
    extract(pack, tmp_path / "baked")
    assert read_meta(tmp_path / "baked").facts["decoding"]["ctc_best_path"]
    more = {"methods": "finetune", "stop_stage": 14, "pack_kind": "routes"}
    done = call(packing.main, as_words(options(copied, **(stage | more))))
    assert done.returncode == 1 and "--pack_kind routes: " in done.stderr


def test_models_in_onnx(prepared, options, copied, capsys):
    """Of each run, compared with the trained model on the whole validation set. A second call writes nothing."""
    given = {"methods": "routing", "licence": "CC0-1.0", "export": "fp32 int8", "export_accept_loss": "true"}
    given |= {"route_utterances": 1}
    assert deploy.main(as_words(options(copied, **given))) == 0
    experiment = copied / ROUTED["routing"]
    report = deployment.read_report(experiment)
    assert report["exported"] == "onnx" and set(report["bytes_exported"]) == {"model.onnx", "model.int8.onnx"}
    assert f"{experiment}/onnx: model.int8.onnx " in capsys.readouterr().out
    made = json.loads((experiment / "onnx/export.json").read_text("utf-8"))
    assert made["compared_on"] == made["utterances_with_text"] == 2 and made["int8_products"] > 0
    assert made["utterances_left_out"] == report["export_left_out"] == 0
    fewer = options(copied, **given, export_utterances=1)
    assert not deployment.is_deployed(experiment, fewer)
    assert deployment.deploy_options(experiment, fewer).count("--export_utterances") == 1
    before = (experiment / "onnx/model.onnx").stat().st_mtime_ns
    assert deploy.main(as_words(options(copied, **given))) == 0
    assert (experiment / "onnx/model.onnx").stat().st_mtime_ns == before
    assert deploy.main(as_words(options(copied, methods="routing", licence="CC0-1.0"))) == 0
    assert not (experiment / "onnx").exists() and "exported" not in deployment.read_report(experiment)
