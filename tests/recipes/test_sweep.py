"""Stage 16 end to end on a toy upstream: a dense model, pruned ones, a run that fails, and a second call."""

import csv
import json
import re
import shutil
import sys

import pytest
import yaml
from toy_points import add_point

from espnet_s3router.experiments import sweep
from espnet_s3router.experiments.specification import Spec
from tests.recipes.conftest import as_words, call

MODEL = "valid.cer_ctc.ave.pth"
DENSE, PARP, DIVERGES = "asr_finetune_seed0", "asr_remask_s0.5_seed0", "asr_diverges_s0.5_seed0"
UPDATES = 6
NAMED = re.compile(r"_s(.*)_lr(.*)_seed")


def row(method, **options):
    return {"frontend_conf": {"mask_conf": {"method": method, **options}}}


METHODS = {
    "finetune": row("finetune"),
    "remask": row("parp", form="remask", sparsity=0.5, interval=2),  # tables show the name of the row
    "omp": row("omp", sparsity=0.5),
    "diverges": {**row("mpi", sparsity=0.5, start=None), "optim_conf": {"weight_lr": 1.0e35}},
    "head_only": row("head_only"),
    "patient": {**row("finetune"), "patience": 7},
}


@pytest.fixture(scope="module")
def options(prepared_recipes, tmp_path_factory):
    """options(expdir, **changes) -> the options of a sweep."""
    methods = tmp_path_factory.mktemp("conf") / "methods.yaml"
    methods.write_text(yaml.safe_dump(METHODS), encoding="utf-8")

    def make(expdir, *, asr_args="", **changes):
        sweep_options = {"stage": 16, "stop_stage": 16, "methods": None, "methods_config": methods, "sparsities": 0.5}
        sweep_options |= {"prune_methods": "remask diverges"}
        few = f"max_epoch=3 num_iters_per_epoch={UPDATES // 3} {asr_args}"
        return prepared_recipes.options(expdir, asr_args=few, **(sweep_options | changes))

    return make


@pytest.fixture(scope="module")
def swept(prepared_recipes, options, tmp_path_factory):
    """(folder, how the sweep ended): one dense model, one pruned from it and one that diverges."""
    folder = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(prepared_recipes.here)
        words = as_words(options(folder / "exp", results_md=folder / "RESULTS.md", parallel=2))
        return folder, call(sweep.main, words)


def point(folder, name):
    return json.loads((folder / "exp" / name / "point.json").read_text("utf-8"))


def test_a_run_starts_from_the_dense_model_of_its_seed(swept):
    folder, done = swept
    conf = yaml.safe_load((folder / "exp" / PARP / "train.yaml").read_text("utf-8"))["frontend_conf"]["mask_conf"]
    assert conf["start"] == str(folder / "exp" / DENSE / MODEL)
    assert done.stdout.index(f"{DENSE}: done") < done.stdout.index(f"{PARP}: started")
    log = (folder / "exp" / PARP / "run.log").read_text("utf-8")
    assert f"start: {conf['start']}" in log
    assert point(folder, PARP)["updates"] == point(folder, DENSE)["updates"] == UPDATES
    counted = point(folder, PARP)["counted"]
    assert counted["zeros"] == counted["entries"] // 2 > 0
    assert point(folder, DENSE)["counted"]["zeros"] == 0


def test_a_run_that_diverges_is_named_and_the_rest_goes_on(swept):
    folder, done = swept
    assert done.returncode == 1, done.stdout[-2000:]
    why = "made no update: the loss or its gradients were not finite"
    assert f"error: {DIVERGES} failed" in done.stderr and why in done.stderr
    assert not (folder / "exp" / DIVERGES / ".trained").exists()
    page = (folder / "RESULTS.md").read_text("utf-8")
    assert f"|{DIVERGES}|exit code 1: error: " in page and "NaN" in page


def test_rows_page_and_plots(swept):
    folder, done = swept
    with (folder / "exp/results.tsv").open(encoding="utf-8") as file:
        rows = [line for line in csv.DictReader(file, delimiter="\t") if line["metric"] == "wer"]
    assert {(line["method"], line["sparsity"], line["set"]) for line in rows} == {
        (method, sparsity, name) for method, sparsity in (("finetune", ""), ("remask", "0.5")) for name in ("dev", "test")
    }
    page = (folder / "RESULTS.md").read_text("utf-8")
    assert "|method|dense|0.5|" in page and "|remask|–|" in page and "|remask vs dense|" in page
    assert "|0.5|remask|50.00|" in page and "|0|finetune|0.00|0.00|0.00|" in page
    for metric in ("cer", "wer"):
        (plot,) = (folder / "exp").glob(f"{metric}_against_sparsity_*.png")
        assert plot.read_bytes().startswith(b"\x89PNG")
    assert "0 of 3 runs finished before" in done.stdout


def test_runs_of_a_dense_model_that_changed(prepared, options, swept, capsys):
    """As when it was trained again, or copied from another machine: they do not count as finished."""
    folder, _ = swept
    dense = folder / "exp" / DENSE / MODEL
    plain = dense.read_bytes()
    dense.write_bytes(plain + b" ")
    try:
        assert sweep.main(as_words(options(folder / "exp", prune_methods="remask"))) == 1
    finally:  # other tests use it too
        dense.write_bytes(plain)
    message = capsys.readouterr()
    assert f"error: {PARP} failed: exit code 1: error: " in message.err and f"{PARP} started from" in message.err
    assert sweep.main(as_words(options(folder / "exp", prune_methods="remask"))) == 0
    assert "2 of 2 runs finished before" in capsys.readouterr().out


def times(folder):
    files = (path for path in folder.rglob("*") if path.suffix in (".pth", ".json", ".log", ".yaml"))
    return {path: path.stat().st_mtime_ns for path in files}


def test_a_finished_run_is_not_run_again(prepared, options, swept, capsys):
    folder, _ = swept
    before = times(folder / "exp")
    assert sweep.main(as_words(options(folder / "exp", prune_methods="remask"))) == 0
    message = capsys.readouterr().out
    assert "2 of 2 runs finished before" in message and "remask vs dense" in message
    assert times(folder / "exp") == before


def test_killed_again_and_again(prepared, options, swept, tmp_path):
    """While the dense model is decoded, and while the pruning run trains: the numbers stay the same."""
    folder, _ = swept
    words = as_words(options(tmp_path / "exp", prune_methods="remask", parallel=1))
    for name, file in ((DENSE, "point.json"), (PARP, "progress.tsv")):
        command = (sys.executable, "-m", sweep.__name__, *words)
        prepared.recipes.kill_when((tmp_path / "exp" / name / file).exists, tmp_path / "exp" / name, *command)
        assert not (tmp_path / "exp/results.tsv").exists()
    assert sweep.main(words) == 0
    unsteady = {"train_seconds", "commit"}
    tables = []
    for expdir in (folder / "exp", tmp_path / "exp"):
        with (expdir / "results.tsv").open(encoding="utf-8") as file:
            rows = [{k: v for k, v in row.items() if k not in unsteady} for row in csv.DictReader(file, delimiter="\t")]
        tables.append(rows)
    assert tables[0] == tables[1] and {row["method"] for row in tables[0]} == {"finetune", "remask"}


def test_runs_that_another_machine_has_committed(prepared, options, swept, tmp_path, capsys):
    """There are rows and no folders; a dense model that no run needs is not trained either."""
    folder, _ = swept
    committed = tmp_path / "prune.tsv"
    shutil.copy(folder / "exp/results.tsv", committed)
    changes = {"prune_methods": "remask", "skip_committed": "true", "committed_results": committed}
    assert sweep.main(as_words(options(tmp_path / "exp", results_md=tmp_path / "RESULTS.md", **changes))) == 0
    message = capsys.readouterr().out
    assert "1 of 1 pruning runs are in the committed results" in message and "0 of 0 runs finished" in message
    assert "|remask|–|" in (tmp_path / "RESULTS.md").read_text("utf-8")
    made = {path.name for path in (tmp_path / "exp").glob("asr_*/*")}
    assert made == {"train.yaml"}  # of the dense model: the variants of the others depend on it


def test_a_dense_model_that_is_there(prepared, options, swept, tmp_path, capsys):
    """It belongs to another recipe, is not trained again, and its error rates count for this recipe too."""
    folder, _ = swept
    shutil.copytree(folder / "exp" / DENSE, tmp_path / "asr1" / DENSE)
    shutil.copytree(folder / "exp" / PARP, tmp_path / "exp" / PARP)
    changes = {
        "prune_methods": "remask",
        "dense_exp": tmp_path / "asr1/asr_finetune_seed{seed}",
        "results_md": tmp_path / "R.md",
    }
    code = sweep.main(as_words(options(tmp_path / "exp", **changes)))
    message = capsys.readouterr()
    assert code == 1 and "another configuration of asr_remask_s0.5_seed0" in message.err  # it started from the other folder
    shutil.rmtree(tmp_path / "exp")
    (tmp_path / "exp").mkdir()
    given = options(tmp_path / "exp", **changes).for_sweep()
    grid = sweep.sweep_of(given)
    (spec,) = grid.specs
    dense, pruned = sweep.jobs_of(given, grid, [])
    assert "--folder" in dense.arguments and dense.log.parent == tmp_path / "asr1" / DENSE
    assert dense.arguments[dense.arguments.index("--stage") + 1] == "12" and not dense.after  # to decode, if that is left
    assert pruned.after == DENSE and "--stage" not in pruned.arguments
    assert spec.mask_conf["start"] == str(tmp_path / "asr1" / DENSE / MODEL) and grid.dense_specs == []
    assert spec.variant == point(folder, PARP)["variant"]


def test_given_dense_models_of_other_seeds(prepared, options, tmp_path):
    """Runs of an earlier call are on the page, and so are their dense models: another seed's is no baseline."""
    for seed in (3, 4):
        add_point(tmp_path / "asr1", f"asr_finetune_seed{seed}", "finetune", 2, seed=seed, decoded="decode_ctc")
        add_point(tmp_path / "exp", f"asr_omp_s0.5_seed{seed}", "omp", 3, sparsity=0.5, seed=seed, decoded="decode_ctc")
    changes = {"dense_exp": tmp_path / "asr1/asr_finetune_seed{seed}", "seeds": "4", "inference_tag": "decode_ctc"}
    given = options(tmp_path / "exp", **changes)
    dense, place = [tmp_path / "asr1/asr_finetune_seed4"], ("toy/asr1", "mini", "10min")
    runs = {(scored.info["method"], scored.info["seed"]) for scored in sweep.scored_runs(given, dense, place)}
    assert runs == {("finetune", 3), ("finetune", 4), ("omp", 3), ("omp", 4)}


def test_dense_models_of_another_row(prepared, options, tmp_path):
    """They are the baseline, whatever the name of their row, also the row of ``--dense_exp``."""
    given = options(tmp_path / "exp", prune_methods="omp", dense_method="patient").for_sweep()
    grid = sweep.sweep_of(given)
    (spec,) = grid.dense_specs
    assert spec.name == "asr_patient_seed0" and spec.config["patience"] == 7
    (tmp_path / "exp").mkdir()
    dense, _ = sweep.jobs_of(given, grid, [])
    assert dense.arguments[dense.arguments.index("--label") + 1] == "finetune"


def test_dense_models_have_no_teacher(prepared, options, tmp_path):
    """They ignore options of pruning; they also teach runs that do not start from them."""
    changes = {"prune_methods": "omp diverges", "seeds": "0 1", "asr_args": "frontend_conf.distill.weight=1"}
    given = options(tmp_path / "exp", **changes).for_sweep()
    grid = sweep.sweep_of(given)
    assert ["distill" in spec.config["frontend_conf"] for spec in grid.dense_specs] == [False, False]
    (tmp_path / "exp").mkdir()
    for spec in grid.dense_specs:
        sweep.folder_of(spec, given)
    jobs = sweep.jobs_of(given, grid, [])
    assert [job.after for job in jobs[2:]] == [DENSE, DENSE, *["asr_finetune_seed1"] * 2]
    omp, taught = grid.specs[:2]
    assert "teacher" not in omp.config["frontend_conf"]["distill"]
    assert taught.config["frontend_conf"]["distill"]["teacher"] == str(tmp_path / "exp" / DENSE / MODEL)
    assert len({spec.variant for spec in grid.specs}) == 2


def test_the_control_runs_at_sparsity_0_once(prepared, options, tmp_path):
    """With every rate and seed of the grid, also if the grid holds sparsity 0 already."""
    for sparsities in ("0.5 0.8", "0 0.5"):
        changes = {"prune_methods": "omp", "control_method": "omp", "seeds": "0 1", "lrs": "0.001 0.01"}
        grid = sweep.sweep_of(options(tmp_path / "exp", sparsities=sparsities, **changes))
        found = sorted((s.mask_conf["sparsity"], s.config["optim_conf"]["lr"], s.config["seed"]) for s in grid.specs)
        expected = {0.0, *map(float, sparsities.split())}
        assert found == sorted((s, lr, seed) for s in expected for lr in (0.001, 0.01) for seed in (0, 1))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"control_method": "absent"}, ["'absent' is not in the methods file"]),
        ({"prune_methods": "rooting"}, ["method 'rooting' is not in the methods file", "remask"]),
        ({"prune_methods": "remask head_only"}, ["head_only has no sparsity"]),
        ({"prune_methods": "remask remask"}, ["twice"]),
        ({"sparsities": "0.5 0.5"}, ["remask_s0.5_seed0 twice", "once"]),
        ({"sparsities": "0.5 1.0"}, ["sparsity is 1.0", "[0, 1)"]),
        ({"sparsities": "-0.1"}, ["sparsity is -0.1"]),
        ({"sparsities": ""}, ["--prune_methods and --sparsities"]),
        ({"seeds": "0 0"}, ["twice"]),
        ({"dense_method": "omp"}, ["--dense_method is 'omp'", "finetune"]),
        ({"dense_method": "absent"}, ["'absent' is not in the methods file"]),
        ({"dense_exp": "exp/dense", "seeds": "0 1"}, ["expected {seed} in it", "2 seeds"]),
        ({"dense_exp": "exp/dense{seed}"}, ["dense model of seed 0 in exp/dense0", "not finished", "stage 11"]),
        ({"skip_committed": "true", "committed_results": __file__}, ["test_sweep.py", "expected the columns"]),
        ({"parallel": 0}, ["--parallel is 0"]),
        ({"pretrained_model": __file__}, [f"--pretrained_model is {__file__}", "--dense_exp"]),
        ({"asr_args": "frontend_conf.mask_conf.sparsty=1"}, ["'sparsty' is not an option of method parp"]),
    ],
)
def test_wrong_options_are_reported_before_anything_runs(prepared, options, tmp_path, capsys, changes, words):
    changes = {"prune_methods": "remask", "asr_stats_dir": tmp_path / "stats"} | changes
    assert sweep.main(as_words(options(tmp_path / "exp", **changes))) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ") and "Traceback" not in message
    for word in words:
        assert word in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda dense: (dense / ".trained").unlink(), ["not finished: no .trained"]),
        (lambda dense: (dense / MODEL).unlink(), [f"not finished: no {MODEL}"]),
        (
            lambda dense: rewrite(dense, {"mask_conf": row("omp")["frontend_conf"]["mask_conf"]}),
            ["trained by omp", "finetune"],
        ),
        (lambda dense: rewrite(dense, {"frontend_conf": {"upstream": "hubert"}}), ["has the upstream", "expected that of"]),
    ],
)
def test_a_dense_model_that_does_not_fit(prepared, options, swept, tmp_path, capsys, change, words):
    dense = tmp_path / "dense0"
    shutil.copytree(swept[0] / "exp" / DENSE, dense)
    change(dense)
    assert sweep.main(as_words(options(tmp_path / "exp", dense_exp=tmp_path / "dense{seed}", prune_methods="remask"))) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: --dense_exp: ") and not (tmp_path / "exp").exists()
    for word in words:
        assert word in message


def rewrite(dense, conf):
    config = yaml.safe_load((dense / "train.yaml").read_text("utf-8"))
    config["frontend_conf"] |= conf
    (dense / "train.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def test_the_recipe_from_a_users_own_data(recipes, corpus):
    """``run.sh`` of asterisk/prune1 on the user's own data, from stage 3 to the page."""
    recipes.recipe = "asterisk/prune1"
    shutil.copytree(corpus, recipes.here / "data")
    command = (
        *("./run.sh", "--quick", "--model", "hubert_mini", "--local_data", ""),
        *("--parallel", "1", "--threads", "2"),
        *("--train_set", "train", "--valid_set", "dev", "--test_sets", "dev test"),
        *("--prune_methods", "omp", "--sparsities", "0.7", "--asr_args", "max_epoch=1 num_iters_per_epoch=2"),
    )
    recipes.run(*command, "--stage", "3")
    made = recipes.here / "exp/quick"
    assert {path.parent.name for path in made.glob("*/.trained")} == {"asr_train_finetune_seed0", "asr_train_omp_s0.7_seed0"}
    page = (made / "RESULTS.md").read_text("utf-8")
    assert "asterisk/prune1 · s3router_hubert_mini · train" in page
    assert "- command: `./run.sh --quick --model hubert_mini --local_data '' " in page  # as it can be typed
    recipes.run(sys.executable, "-m", "espnet_s3router.results.merge", made / "results.tsv", "results/prune.tsv")
    for path in made.glob("asr_train_*"):
        shutil.rmtree(path)
    done = recipes.run(*command, "--stage", "16", "--skip_committed", "true")
    assert "1 of 1 pruning runs are in the committed results" in done.stdout
    assert not list(made.glob("*/.trained"))
    again = (made / "RESULTS.md").read_text("utf-8").splitlines()
    rates = [line for line in page.splitlines() if line.startswith(("|finetune|", "|omp|"))]
    assert len(rates) == 6 and set(rates) <= set(again)  # two metrics and the runs; the bootstrap needs the folders


def test_rates_are_tuned_on_the_first_seed(prepared, options, tmp_path, monkeypatch, capsys):
    """All rates there; the other seeds with the one that is best on dev at each sparsity, whatever it is on test."""
    errors = {("0.5", "0.001"): (2, 9), ("0.5", "0.01"): (3, 1), ("0.8", "0.001"): (7, 1), ("0.8", "0.01"): (6, 9)}
    ran = []

    def invent_scores(given, jobs):
        for job in jobs:
            folder, name = job.log.parent, job.name
            ran.append(name)
            spec = Spec(name, yaml.safe_load((folder / "train.yaml").read_text("utf-8")))
            found = (
                {"errors": 5} if name.startswith("asr_finetune") else {"errors": errors[tuple(NAMED.search(name).groups())]}
            )
            about = {"variant": spec.variant, "seed": spec.config["seed"], "lr": spec.config["optim_conf"]["lr"]}
            about |= {"recipe": given.recipe_name, "upstream": spec.upstream, "split": given.training_set}
            about |= {"sparsity": spec.mask_conf.get("sparsity"), "sets": ("dev", "test"), "decoded": given.decoding_tag}
            add_point(folder.parent, name, job.arguments[job.arguments.index("--label") + 1], **found, **about)
        return {}

    monkeypatch.setattr(sweep.grid, "run_unfinished", invent_scores)
    monkeypatch.setattr(sweep, "collect_stats", lambda *_: None)
    changes = {"prune_methods": "omp", "sparsities": "0.5 0.8", "seeds": "3 4", "lrs": "0.001 0.01"}
    changes |= {"asr_args": "optim_conf.lr=0.5", "results_md": tmp_path / "R.md", "tune_on_first_seed": "true"}
    assert sweep.main(as_words(options(tmp_path / "exp", **changes))) == 0
    tuned = [f"asr_omp_s{sparsity}_lr{rate}_seed3" for sparsity in (0.5, 0.8) for rate in (0.001, 0.01)]
    best = ["asr_omp_s0.5_lr0.001_seed4", "asr_omp_s0.8_lr0.01_seed4"]
    assert ran == ["asr_finetune_seed3", *tuned, "asr_finetune_seed4", *best]
    assert "|omp|–|90.0 [90.0, 90.0]|90.0 [90.0, 90.0]|" in (tmp_path / "R.md").read_text("utf-8")


def test_where_no_rate_was_finished_the_other_seeds_are_named(prepared, options, tmp_path, monkeypatch, capsys):
    """Otherwise the table would lack them without a reason."""

    def all_fail(given, jobs):
        for job in jobs:
            if job.name.startswith("asr_finetune"):
                add_point(
                    job.log.parent.parent, job.name, "finetune", errors=1, sets=("dev", "test"), decoded=given.decoding_tag
                )
        return {job.name: "out of memory" for job in jobs if not job.name.startswith("asr_finetune")}

    monkeypatch.setattr(sweep.grid, "run_unfinished", all_fail)
    monkeypatch.setattr(sweep, "collect_stats", lambda *_: None)
    changes = {"prune_methods": "omp", "seeds": "3 4", "lrs": "0.001 0.01", "tune_on_first_seed": "true"}
    assert sweep.main(as_words(options(tmp_path / "exp", **changes))) == 1
    message = capsys.readouterr().err
    for rate in (0.001, 0.01):
        assert f"error: asr_omp_s0.5_lr{rate}_seed3 failed: out of memory" in message
        assert f"error: asr_omp_s0.5_lr{rate}_seed4 failed: not started, because seed 3" in message
