"""The table of how the models of a sweep were trained."""

from dataclasses import replace

from toy_points import ROW

from espnet_s3router.recipe.runs_table import table
from espnet_s3router.recipe.sweep_table import Variant


def run(method, sparsity, lr, **changes):
    return replace(ROW, method=method, sparsity=sparsity, lr=lr, variant=f"{method}{sparsity}{lr}", **changes)


def test_rates_that_were_chosen_and_tried():
    dense = run("finetune", None, 1e-4, updates=880)
    omp = [run("omp", 0.5, 1e-3, seed=seed, commit=f"{seed}ab") for seed in (2, 0)]
    other, high = run("omp", 0.5, 3e-3, commit="cd"), run("omp", 0.8, 3e-4)
    best = [Variant(row.method, row.sparsity, row.variant) for row in (dense, omp[0], high)]
    assert table([dense, *omp, other, high], best) == [
        ["method", "dense", "0.5", "0.8", "tried", "updates", "seeds", "commits"],
        ["finetune", "0.0001", "–", "–", "0.0001", "880", "0", "1a2b3c4"],
        ["omp", "–", "0.001", "0.0003", "0.0003, 0.001, 0.003", "9", "0, 2", "0ab, 1a2b3c4, 2ab"],
    ]
