"""The choice on the validation set, from rows of results."""

from dataclasses import replace

from toy_points import rows_of

from espnet_s3router.results.select import Variant, best_on_dev, by_method, rates_of_rows

GRID = [
    *rows_of("finetune", None, 2),
    *rows_of("omp", 0.5, 5),
    *rows_of("omp", 0.8, 9, variant="w"),
    *rows_of("parp", 0.5, (4, 6), variant="low"),
    *rows_of("parp", 0.5, (5, 1), variant="high"),  # best on test, not on dev
]
DENSE, OMP, PARP = Variant("finetune", None, "v"), Variant("omp", 0.5, "v"), Variant("parp", 0.5, "low")


def test_sets_are_pooled_by_their_counts():
    rows = [*rows_of("omp", 0.5, 1, sets=("clean",)), *rows_of("omp", 0.5, 8, tokens=20, sets=("other",))]
    rows += rows_of("omp", 0.5, 1, seed=1, sets=("clean",))  # not decoded on the other
    assert rates_of_rows(rows, ["clean", "other"], "wer") == {OMP: {0: 30.0}}


def test_insertions_count_as_errors_and_not_as_reference():
    rows = [replace(row, value=5.0) if row.metric == "cer_insertions" else row for row in rows_of("omp", 0.5, 2)]
    assert rates_of_rows(rows, ["test"], "cer")[OMP] == {0: 70.0}


def test_a_variant_is_chosen_on_dev_at_each_sparsity():
    assert best_on_dev(rates_of_rows(GRID, ["dev"], "cer")) == {
        ("finetune", None): DENSE,
        ("omp", 0.5): OMP,
        ("omp", 0.8): Variant("omp", 0.8, "w"),
        ("parp", 0.5): PARP,
    }
    more = [*GRID, *rows_of("parp", 0.5, 9, variant="low", seed=1)]  # a bad seed that the other variant does not have
    assert best_on_dev(rates_of_rows(more, ["dev"], "cer"))["parp", 0.5] == PARP


def test_a_method_is_chosen_over_all_sparsities_and_equal_ones_by_sparsity():
    rates = rates_of_rows([*GRID, *rows_of("rp", 0.5, 3), *rows_of("rp", 0.3, 3)], ["dev"], "cer")
    assert best_on_dev(rates, by_method) == {"finetune": DENSE, "omp": OMP, "parp": PARP, "rp": Variant("rp", 0.3, "v")}
