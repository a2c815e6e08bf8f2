"""Error rates against sparsity out of rows of results, and the page that they end on."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
from toy_points import ROW, add_point

from espnet_s3router.results.rows import put_rows, read_rows
from espnet_s3router.results.sweep_page import report
from espnet_s3router.results.sweep_table import Variant, cells, chosen, curves, mean, rates, spread, table


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
PLACE = ("toy/prune1", "mini", "10min")
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


def test_the_mean_of_equal_rates_is_between_them():
    """Summed and divided it may be a bit above, which the plot refuses as an error bar of negative length."""
    rates = (number / 7 for number in range(1, 1000))
    value = next(rate for rate in rates if mean([rate / 100] * 3) > rate / 100)
    interval = spread(dict.fromkeys(range(3), value))
    assert interval.low <= interval.value <= interval.high


def asked(expdir, **changes):
    values = {"expdir": str(expdir), "inference_tag": "inference", "recipe": "toy/prune1", "valid_set": "dev", "unseen": ""}
    values |= {"dense_exp": "", "test_sets": ["dev", "test"], "asr_tag": ""}
    values |= {"results_md": str(expdir / "RESULTS.md"), "command": "./run.sh"}
    return Namespace(**(values | changes))


def test_a_page_out_of_committed_rows_alone(tmp_path, capsys):
    """Points that ran on other machines; a method without a sparsity has no place in the tables."""
    report(
        asked(tmp_path),
        [],
        PLACE,
        ["parp", "omp"],
        [*GRID, *rows_of("lora", None, 0)],
        {"asr_rp_s0.5_seed0": "killed | badly"},
    )
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
    report(args, [tmp_path / "other/dense"], PLACE, ["routing_prune", "omp"], [], {})
    told = capsys.readouterr().out
    assert "routing_prune vs dense" in told and "+50.0 [+50.0, +50.0] worse" in told
    assert "routing_prune vs omp" in told and "-50.0 [-50.0, -50.0] better" in told
    assert "omp vs routing_prune" not in told and "lora" not in told and " at 0" not in told
    rows = read_rows(measured / "results.tsv")
    assert {row.method for row in rows} == {"finetune", "routing_prune", "omp", "lora"}
    assert {row.recipe for row in rows} == {"toy/prune1"}  # the dense model's too, which another recipe trained


def test_points_are_compared_with_what_trained_as_long_unpruned(measured, capsys):
    """A dense model has had fewer updates than they."""
    about = {"recipe": "toy/prune1", "split": "10min"}
    add_point(measured, "control", "omp_continued", 4, sparsity=0.0, **about)
    report(asked(measured), [], PLACE, ["routing_prune"], [], {})
    page = (measured / "RESULTS.md").read_text("utf-8").splitlines()
    assert "|routing_prune vs omp_continued at 0|–|-25.0 [-25.0, -25.0] better|" in page
    assert "|omp vs omp_continued at 0|–|+50.0 [+50.0, +50.0] worse|" in page
    assert not any(line.startswith("|omp_continued vs omp_continued") for line in page)


def test_dense_models_that_the_points_did_not_start_from(measured, capsys):
    """Better ones of another configuration; another seed of ours belongs here."""
    add_point(measured, "dense", "finetune", 4, recipe="toy/prune1")
    add_point(measured, "better", "finetune", 1, variant="other", recipe="toy/prune1")
    add_point(measured, "another_seed", "finetune", 6, seed=2, recipe="toy/prune1")
    committed = rows_of("finetune", None, 0, variant="best")
    report(asked(measured), [measured / "dense"], PLACE, ["omp"], committed, {})
    assert "|finetune|50.0 [40.0, 60.0]|" in (measured / "RESULTS.md").read_text("utf-8")


def test_unseen_texts_stand_apart(measured, tmp_path):
    unseen = tmp_path / "unseen"
    unseen.write_text("u03\nu07\n", encoding="utf-8")
    report(asked(measured, unseen=str(unseen)), [], PLACE, ["omp"], [], {})
    page = Path(measured / "RESULTS.md").read_text("utf-8")
    assert "CER in % on test unseen against sparsity" in page
    assert {row.set for row in read_rows(measured / "results.tsv")} >= {"test", "test_unseen"}


def test_committed_rows_give_way_to_those_measured_here(measured):
    stale = rows_of("omp", 0.5, 9, variant="omp0.5", seed=1)
    put_rows(measured / "committed.tsv", stale)
    report(asked(measured), [], PLACE, ["omp"], read_rows(measured / "committed.tsv"), {})
    assert "|omp|–|60.0|" in (measured / "RESULTS.md").read_text("utf-8")


def test_a_grid_of_which_nothing_is_finished(tmp_path, capsys):
    report(asked(tmp_path), [tmp_path / "absent"], PLACE, ["omp"], [], {"asr_omp_s0.5_seed0": "killed"})
    assert "asr_omp_s0.5_seed0  killed" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.png"))


def test_a_part_of_the_grid_is_reported_with_what_is_there_already(measured):
    """Methods that this call did not ask for, behind those it did; not another upstream's."""
    add_point(measured, "imp", "imp", 4, sparsity=0.8, recipe="toy/prune1")
    add_point(measured, "other", "mpi", 4, sparsity=0.8, recipe="toy/prune1", upstream="large")
    report(asked(measured), [], PLACE, ["omp"], [replace(row, upstream="large") for row in GRID], {})
    page = (measured / "RESULTS.md").read_text("utf-8")
    assert page.index("|omp|") < page.index("|imp|") < page.index("|routing_prune|")
    assert "|mpi|" not in page and "|finetune|" not in page


def test_rows_of_points_that_are_gone_leave_the_results(measured):
    """Those of other upstreams, which this page is not about, stay."""
    elsewhere = [replace(row, upstream="large") for row in rows_of("rp", 0.5, 9)]
    put_rows(measured / "results.tsv", [*rows_of("rp", 0.5, 9), *elsewhere])
    report(asked(measured), [], PLACE, ["omp"], [], {})
    rows = read_rows(measured / "results.tsv")
    assert {row.method for row in rows if row.place == PLACE} == {"routing_prune", "omp", "lora"}
    assert [row for row in rows if row.place != PLACE] == sorted(elsewhere, key=lambda row: row.key)


def test_what_was_trained_under_two_tags_is_there_once(measured, capsys):
    """The dense model that the points began from; else the one of this tag."""
    about = {"recipe": "toy/prune1", "variant": "same"}
    add_point(measured, "asr_a_finetune_seed1", "finetune", 2, **about)
    add_point(measured, "asr_b_finetune_seed1", "finetune", 3, **about)
    add_point(measured, "asr_a_mpi_seed1", "mpi", 8, sparsity=0.5, **about)
    add_point(measured, "asr_b_mpi_seed1", "mpi", 8, sparsity=0.5, **about)
    report(asked(measured, asr_tag="b"), [measured / "asr_a_finetune_seed1"], PLACE, ["mpi"], [], {})
    told = capsys.readouterr().out
    assert "asr_b_finetune_seed1: the same run as" in told and "asr_a_mpi_seed1: the same run as" in told
    assert "|finetune|20.0|" in (measured / "RESULTS.md").read_text("utf-8")


def test_a_comparison_names_its_seeds_where_one_side_has_more(measured):
    add_point(measured, "omp2", "omp", 8, sparsity=0.5, seed=2, recipe="toy/prune1", variant="omp0.5")
    report(asked(measured), [], PLACE, ["omp"], [], {})
    assert "|routing_prune vs omp|-50.0 [-50.0, -50.0] better, seed 1|" in (measured / "RESULTS.md").read_text("utf-8")


def test_test_sets_stand_together_and_apart(measured):
    about = {"recipe": "toy/prune1", "sets": ("dev", "clean", "other"), "sparsity": 0.5}
    add_point(measured, "mpi", "mpi", (1, 2, 6), **about)
    report(asked(measured, test_sets=["dev", "clean", "other"]), [], PLACE, ["mpi"], [], {})
    page = (measured / "RESULTS.md").read_text("utf-8")
    for label, rate in (("clean+other", "40.0"), ("clean", "20.0"), ("other", "60.0")):
        caption = f"CER in % on {label} against sparsity"
        assert f"|mpi|–|{rate}|" in page[page.index(caption) :].split("\n\n")[1]
    names = {path.name for path in measured.glob("cer_*.png")}
    assert names == {f"cer_against_sparsity_mini_10min{end}.png" for end in ("", "_clean", "_other")}
