"""The table of how the models of a sweep were trained."""

from dataclasses import replace

from toy_points import ROW

from espnet_s3router.results.runs_table import table
from espnet_s3router.results.sweep_table import Variant


def run(method, sparsity, lr, wrong, **changes):
    """Rows of one model: so many of ten characters substituted on dev."""
    about = {"method": method, "sparsity": sparsity, "lr": lr, "variant": f"{method}{sparsity}{lr}", "set": "dev", **changes}
    counts = {"hits": 10 - wrong, "substitutions": wrong, "deletions": 0, "insertions": 0}
    return [replace(ROW, **about, metric=f"cer_{kind}", value=float(value)) for kind, value in counts.items()]


def test_rates_that_were_tried_and_chosen():
    dense = run("finetune", None, 1e-4, 2, updates=880)
    omp = [*run("omp", 0.5, 1e-3, 3, seed=2, commit="2ab"), *run("omp", 0.5, 1e-3, 9, seed=0, commit="0ab")]
    other, high = run("omp", 0.5, 3e-3, 4, seed=2, commit="cd"), run("omp", 0.8, 3e-4, 5, seed=2)
    best = [Variant(row.method, row.sparsity, row.variant) for row in (dense[0], omp[0], high[0])]
    assert table([*dense, *omp, *other, *high], best, ["dev"]) == [
        ["method", "dense", "0.5", "0.8", "updates", "seeds", "commits"],
        ["finetune", "**0.0001: 20.0**", "–", "–", "880", "0", "1a2b3c4"],
        ["omp", "–", "**0.001: 30.0**, 0.003: 40.0", "**0.0003: 50.0**", "9", "0, 2", "0ab, 1a2b3c4, 2ab"],
    ]
