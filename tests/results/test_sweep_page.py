"""The page of a sweep: tables of error rates against sparsity, from experiment folders and from rows of other machines."""

from dataclasses import replace

import pytest
from toy_points import add_point, rows_of

from espnet_s3router.results.pages import sweep
from espnet_s3router.results.rows import put_rows, read_rows

GRID = [
    *rows_of("finetune", None, 2),
    *rows_of("finetune", None, 4, seed=1),
    *rows_of("omp", 0.5, 5),
    *rows_of("omp", 0.5, 7, seed=1),
    *rows_of("omp", 0.8, 9, variant="w"),
    *rows_of("parp", 0.5, (4, 6), variant="low"),
    *rows_of("parp", 0.5, (5, 1), variant="high"),  # best on test, not on dev
]
PLACE = ("toy/prune1", "mini", "10min")
PLACE = ("toy/prune1", "mini", "10min")


def report(expdir, dense=(), methods=(), *, rows=(), prefix="asr", unseen=None, test=("test",), failed=None):
    """Make the page of ``expdir``, as stage 16 does. ``rows``: of other machines."""
    put_rows(expdir / "committed.tsv", rows)
    runs = sweep.runs_of_sweep(expdir, PLACE, dense, prefix=prefix, inference_tag="inference")
    page = sweep.SweepPage(
        place=PLACE,
        methods=methods,
        dev=["dev"],
        test=list(test),
        unseen=unseen,
        dense_variants=[run.info["variant"] for run in runs if run.path in dense],
        row_files=["committed.tsv"],
        failed=failed or {},
    )
    sweep.report(page, runs, expdir=expdir, results_md=expdir / "RESULTS.md", command="./run.sh")
    return (expdir / "RESULTS.md").read_text("utf-8")


def test_a_page_out_of_committed_rows_alone(tmp_path, capsys):
    """Runs that finished on other machines. A method without a sparsity has no place in the tables."""
    rows = [*GRID, *rows_of("lora", None, 0)]
    page = report(tmp_path, methods=["parp", "omp"], rows=rows, failed={"asr_rp_s0.5_seed0": "killed | badly"})
    assert "|omp|–|60.0 [50.0, 70.0]|90.0 (seed 0)|" in page and "lora" not in page
    assert page.index("|finetune|30.0") < page.index("|parp|") < page.index("|omp|")  # in the order of ``methods``
    assert "|asr_rp_s0.5_seed0|killed / badly|" in page and "command: `./run.sh`" in page
    assert "CER in % on test against sparsity" in page and "WER in % on test" in page
    printed = capsys.readouterr().out
    assert "toy/prune1 · mini · 10min" in printed and "killed / badly" in printed
    for metric in ("cer", "wer"):
        assert (tmp_path / f"{metric}_against_sparsity_mini_10min.png").read_bytes().startswith(b"\x89PNG")
    assert read_rows(tmp_path / "results.tsv") == []  # no run has a folder here


@pytest.fixture
def measured(tmp_path):
    """Experiment folders: a dense model elsewhere, and two methods at one sparsity."""
    exp = tmp_path / "exp"
    about = {"recipe": "toy/prune1", "split": "10min"}
    add_point(tmp_path / "other", "dense", "finetune", 2, recipe="toy/asr1")
    add_point(exp, "routing_prune", "routing_prune", 3, sparsity=0.5, **about)
    add_point(exp, "omp", "omp", 6, sparsity=0.5, **about)
    add_point(exp, "lora", "lora", 0, **about)
    return exp


def test_runs_with_folders_are_compared_by_bootstrap(measured, tmp_path, capsys):
    report(measured, [tmp_path / "other/dense"], ["routing_prune", "omp"])
    printed = capsys.readouterr().out
    assert "routing_prune vs dense" in printed and "+50.0 [+50.0, +50.0] worse" in printed
    assert "routing_prune vs omp" in printed and "-50.0 [-50.0, -50.0] better" in printed
    assert "omp vs routing_prune" not in printed and "lora" not in printed and " at 0" not in printed
    rows = read_rows(measured / "results.tsv")
    assert {row.method for row in rows} == {"finetune", "routing_prune", "omp", "lora"}
    assert {row.recipe for row in rows} == {"toy/prune1"}  # also of the dense model, which another recipe trained


def test_runs_are_compared_with_what_trained_as_long_unpruned(measured):
    """The dense model has had fewer updates."""
    add_point(measured, "control", "omp_continued", 4, sparsity=0.0, recipe="toy/prune1", split="10min")
    page = report(measured, methods=["routing_prune"]).splitlines()
    assert "|routing_prune vs omp_continued at 0|–|-25.0 [-25.0, -25.0] better|" in page
    assert "|omp vs omp_continued at 0|–|+50.0 [+50.0, +50.0] worse|" in page
    assert not any(line.startswith("|omp_continued vs omp_continued") for line in page)


def test_dense_models_that_the_runs_did_not_start_from(measured):
    """Better ones of another configuration are left out; another seed of the same one is shown."""
    add_point(measured, "dense", "finetune", 4, recipe="toy/prune1")
    add_point(measured, "better", "finetune", 1, variant="other", recipe="toy/prune1")
    add_point(measured, "another_seed", "finetune", 6, seed=2, recipe="toy/prune1")
    rows = rows_of("finetune", None, 0, variant="best")
    assert "|finetune|50.0 [40.0, 60.0]|" in report(measured, [measured / "dense"], ["omp"], rows=rows)


def test_unseen_texts_stand_apart(measured):
    assert "CER in % on test unseen against sparsity" in report(measured, methods=["omp"], unseen=["u03", "u07"])
    assert {row.set for row in read_rows(measured / "results.tsv")} >= {"test", "test_unseen"}


def test_rows_of_the_folders_replace_committed_ones(measured):
    stale = rows_of("omp", 0.5, 9, variant="omp0.5", seed=1)
    assert "|omp|–|60.0|" in report(measured, methods=["omp"], rows=stale)


def test_a_grid_of_which_nothing_is_finished(tmp_path, capsys):
    report(tmp_path, [tmp_path / "absent"], ["omp"], failed={"asr_omp_s0.5_seed0": "killed"})
    assert "asr_omp_s0.5_seed0  killed" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.png"))


def test_a_part_of_the_grid_is_reported_with_what_is_there_already(measured):
    """Methods that were not requested follow the requested ones. Another upstream is left out."""
    add_point(measured, "imp", "imp", 4, sparsity=0.8, recipe="toy/prune1")
    add_point(measured, "other", "mpi", 4, sparsity=0.8, recipe="toy/prune1", upstream="large")
    page = report(measured, methods=["omp"], rows=[replace(row, upstream="large") for row in GRID])
    assert page.index("|omp|") < page.index("|imp|") < page.index("|routing_prune|")
    assert "|mpi|" not in page and "|finetune|" not in page


def test_rows_of_runs_that_are_gone_leave_the_results(measured):
    """Those of other upstreams stay."""
    elsewhere = [replace(row, upstream="large") for row in rows_of("rp", 0.5, 9)]
    put_rows(measured / "results.tsv", [*rows_of("rp", 0.5, 9), *elsewhere])
    report(measured, methods=["omp"])
    rows = read_rows(measured / "results.tsv")
    assert {row.method for row in rows if row.place == PLACE} == {"routing_prune", "omp", "lora"}
    assert [row for row in rows if row.place != PLACE] == sorted(elsewhere, key=lambda row: row.key)


def test_what_was_trained_under_two_tags_is_there_once(measured, capsys):
    """The dense model that the runs started from, else the one of this tag."""
    about = {"recipe": "toy/prune1", "variant": "same"}
    add_point(measured, "asr_a_finetune_seed1", "finetune", 2, **about)
    add_point(measured, "asr_b_finetune_seed1", "finetune", 3, **about)
    add_point(measured, "asr_a_mpi_seed1", "mpi", 8, sparsity=0.5, **about)
    add_point(measured, "asr_b_mpi_seed1", "mpi", 8, sparsity=0.5, **about)
    page = report(measured, [measured / "asr_a_finetune_seed1"], ["mpi"], prefix="asr_b")
    printed = capsys.readouterr().out
    assert "asr_b_finetune_seed1: the same run as" in printed and "asr_a_mpi_seed1: the same run as" in printed
    assert "|finetune|20.0|" in page


def test_dense_models_of_the_seeds_of_the_runs(measured, tmp_path):
    """``dense_folder`` gives them; they count as dense models of this recipe."""
    runs = sweep.runs_of_sweep(measured, PLACE, [], prefix="asr", dense_folder=lambda seed: tmp_path / "other/dense")
    assert [(run.place, run.path.name) for run in runs if run.info["method"] == sweep.DENSE] == [(PLACE, "dense")]


def test_a_comparison_names_its_seeds_where_one_side_has_more(measured):
    add_point(measured, "omp2", "omp", 8, sparsity=0.5, seed=2, recipe="toy/prune1", variant="omp0.5")
    assert "|routing_prune vs omp|-50.0 [-50.0, -50.0] better, seed 1|" in report(measured, methods=["omp"])


def test_test_sets_stand_together_and_apart(measured):
    about = {"recipe": "toy/prune1", "sets": ("dev", "clean", "other"), "sparsity": 0.5}
    add_point(measured, "mpi", "mpi", (1, 2, 6), **about)
    page = report(measured, methods=["mpi"], test=["clean", "other"])
    for label, rate in (("clean+other", "40.0"), ("clean", "20.0"), ("other", "60.0")):
        caption = f"CER in % on {label} against sparsity"
        assert f"|mpi|–|{rate}|" in page[page.index(caption) :].split("\n\n")[1]
    names = {path.name for path in measured.glob("cer_*.png")}
    assert names == {f"cer_against_sparsity_mini_10min{end}.png" for end in ("", "_clean", "_other")}


def test_a_page_of_phones(tmp_path):
    """The phone error rate is the only one: variants are chosen by it, and no table or plot shows another."""
    rows = [replace(row, metric=row.metric.replace("wer", "per")) for row in GRID if row.metric.startswith("wer")]
    page = report(tmp_path, methods=["parp", "omp"], rows=rows)
    assert "PER in % on test against sparsity" in page and "tried and their PER in % on dev" in page
    assert "CER" not in page and "WER" not in page
    assert "**0.001: 40.0**" in page  # parp's variant with 4 of 10 errors on dev
    assert [path.name for path in tmp_path.glob("*.png")] == ["per_against_sparsity_mini_10min.png"]
