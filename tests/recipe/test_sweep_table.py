"""Error rates against sparsity out of rows of results, and the page that they end on."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
from toy_points import ROW, add_point

from espnet_s3router.recipe.results import put_rows, read_rows
from espnet_s3router.recipe.sweep_report import report
from espnet_s3router.recipe.sweep_table import Variant, cells, chosen, curves, rates, spread, table


def rows_of(method, sparsity, wrong, *, variant="v", seed=0, tokens=10, sets=("dev", "test")):
    """Both metrics: so many of ``tokens`` substituted; ``wrong``: one number for all sets, or one a set."""
    made = []
    for name, errors in zip(sets, wrong if isinstance(wrong, tuple) else [wrong] * len(sets)):
        about = {"method": method, "sparsity": sparsity, "variant": variant, "seed": seed, "set": name}
        counts = {"hits": tokens - errors, "substitutions": errors, "deletions": 0, "insertions": 0}
        for metric in ("cer", "wer"):
            values = {metric: 100 * errors / tokens} | {f"{metric}_{kind}": value for kind, value in counts.items()}
            made += [replace(ROW, **about, metric=name_of_it, value=float(value)) for name_of_it, value in values.items()]
    return made


GRID = [
    *rows_of("finetune", None, 2),
    *rows_of("finetune", None, 4, seed=1),
    *rows_of("omp", 0.5, 5),
    *rows_of("omp", 0.5, 7, seed=1),
    *rows_of("omp", 0.8, 9, variant="w"),
    *rows_of("parp", 0.5, (4, 6), variant="low"),
    *rows_of("parp", 0.5, (5, 1), variant="high"),  # best on test, not on dev
]
DENSE, OMP, PARP = Variant("finetune", None, "v"), Variant("omp", 0.5, "v"), Variant("parp", 0.5, "low")


def test_sets_are_pooled_by_their_counts():
    rows = [*rows_of("omp", 0.5, 1, sets=("clean",)), *rows_of("omp", 0.5, 8, tokens=20, sets=("other",))]
    rows += rows_of("omp", 0.5, 1, seed=1, sets=("clean",))  # not decoded on the other
    assert rates(rows, ["clean", "other"], "wer") == {OMP: {0: 30.0}}


def test_insertions_count_as_errors_and_not_as_reference():
    rows = [replace(row, value=5.0) if row.metric == "cer_insertions" else row for row in rows_of("omp", 0.5, 2)]
    assert rates(rows, ["test"], "cer")[OMP] == {0: 70.0}


def test_a_variant_is_chosen_on_dev_at_each_sparsity():
    assert chosen(GRID, ["dev"]) == {
        ("finetune", None): DENSE,
        ("omp", 0.5): OMP,
        ("omp", 0.8): Variant("omp", 0.8, "w"),
        ("parp", 0.5): PARP,
    }
    more = [*GRID, *rows_of("parp", 0.5, 9, variant="low", seed=1)]  # a bad seed that the other variant does not have
    assert chosen(more, ["dev"])["parp", 0.5] == PARP


def test_table_and_spread():
    found = cells(GRID, [DENSE, OMP, PARP, Variant("omp", 0.8, "w")], ["test"], "cer")
    assert table(found, [0.5, 0.8]) == [
        ["method", "dense", "0.5", "0.8"],
        ["finetune", "30.0 [20.0, 40.0]", "–", "–"],
        ["omp", "–", "60.0 [50.0, 70.0]", "90.0 (seed 0)"],
        ["parp", "–", "60.0 (seed 0)", "–"],
    ]
    drawn = {label: [sparsity for sparsity, _ in points] for label, points in curves(found).items()}
    assert drawn == {"finetune (dense)": [None], "omp": [0.5, 0.8], "parp": [0.5]}
    interval = spread(found["omp"][0.5])
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.6, 0.5, 0.7))


def asked(expdir, **changes):
    values = {"expdir": str(expdir), "inference_tag": "inference", "recipe": "toy/prune1", "valid_set": "dev", "unseen": ""}
    values |= {
        "test_sets": ["dev", "test"],
        "results_tsv": "",
        "results_md": str(expdir / "RESULTS.md"),
        "command": "./run.sh",
    }
    return Namespace(**(values | changes))


def test_a_page_out_of_committed_rows_alone(tmp_path, capsys):
    """Points that ran on other machines; other methods' rows are left out."""
    report(asked(tmp_path), [], ["parp", "omp"], [*GRID, *rows_of("lora", None, 0)], {"asr_rp_s0.5_seed0": "killed | badly"})
    page = (tmp_path / "RESULTS.md").read_text("utf-8")
    assert "|omp|–|60.0 [50.0, 70.0]|90.0 (seed 0)|" in page and "lora" not in page
    assert page.index("|finetune|30.0") < page.index("|parp|") < page.index("|omp|")  # as the methods were asked for
    assert "|asr_rp_s0.5_seed0|killed / badly|" in page and "command: `./run.sh`" in page
    assert "CER in % on test against sparsity" in page and "WER in % on test" in page
    told = capsys.readouterr().out
    assert "toy/prune1 · mini · 10min" in told and "killed / badly" in told
    for metric in ("cer", "wer"):
        assert (tmp_path / f"{metric}_against_sparsity_mini_10min.png").read_bytes().startswith(b"\x89PNG")
    assert read_rows(tmp_path / "results.tsv") == []  # nothing of it was measured here


@pytest.fixture
def measured(tmp_path):
    """Folders of points as training leaves them: a dense model elsewhere, and two methods at one sparsity."""
    exp = tmp_path / "exp"
    about = {"recipe": "toy/prune1", "split": "10min"}
    add_point(tmp_path / "other", "dense", "finetune", 2, recipe="toy/asr1")
    add_point(exp, "routing_prune", "routing_prune", 3, sparsity=0.5, **about)
    add_point(exp, "omp", "omp", 6, sparsity=0.5, **about)
    add_point(exp, "lora", "lora", 0, **about)
    return exp


def test_points_with_folders_are_compared_by_bootstrap(measured, tmp_path, capsys):
    args = asked(measured, recipe="toy/prune1")
    report(args, [tmp_path / "other/dense"], ["routing_prune", "omp"], [], {})
    told = capsys.readouterr().out
    assert "routing_prune vs dense" in told and "+50.0 [+50.0, +50.0] worse" in told
    assert "routing_prune vs omp" in told and "-50.0 [-50.0, -50.0] better" in told
    assert "omp vs routing_prune" not in told and "lora" not in told
    rows = read_rows(measured / "results.tsv")
    assert {row.method for row in rows} == {"finetune", "routing_prune", "omp"}
    assert {row.recipe for row in rows} == {"toy/prune1"}  # the dense model's too, which another recipe trained


def test_dense_models_that_the_points_did_not_start_from(measured, capsys):
    """Better ones of another configuration; another seed of ours belongs here."""
    add_point(measured, "dense", "finetune", 4)
    add_point(measured, "better", "finetune", 1, variant="other")
    add_point(measured, "another_seed", "finetune", 6, seed=2)
    report(asked(measured), [measured / "dense"], ["omp"], [], {})
    assert "|finetune|50.0 [40.0, 60.0]|" in (measured / "RESULTS.md").read_text("utf-8")


def test_unseen_texts_stand_apart(measured, tmp_path):
    unseen = tmp_path / "unseen"
    unseen.write_text("u03\nu07\n", encoding="utf-8")
    report(asked(measured, unseen=str(unseen)), [], ["omp"], [], {})
    page = Path(measured / "RESULTS.md").read_text("utf-8")
    assert "CER in % on test unseen against sparsity" in page
    assert {row.set for row in read_rows(measured / "results.tsv")} >= {"test", "test_unseen"}


def test_committed_rows_give_way_to_those_measured_here(measured):
    stale = rows_of("omp", 0.5, 9, variant="omp0.5", seed=1)
    put_rows(measured / "committed.tsv", stale)
    report(asked(measured), [], ["omp"], read_rows(measured / "committed.tsv"), {})
    assert "|omp|–|60.0|" in (measured / "RESULTS.md").read_text("utf-8")


def test_a_grid_of_which_nothing_is_finished(tmp_path, capsys):
    report(asked(tmp_path), [tmp_path / "absent"], ["omp"], [], {"asr_omp_s0.5_seed0": "killed"})
    assert "asr_omp_s0.5_seed0  killed" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.png"))
