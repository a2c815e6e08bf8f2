"""Tables by sparsity, from rows of results."""

from dataclasses import replace

import pytest
from toy_points import ROW, rows_of

from espnet_s3router.results.bootstrap import Interval
from espnet_s3router.results.select import Variant, mean, rates_of_rows
from espnet_s3router.results.tables import (
    ZEROS_HEAD,
    cost_curves,
    curves,
    error_rates,
    learning_rates,
    route_files,
    shrunk_means,
    spread,
    zeros,
)

DENSE, OMP, PARP = Variant("finetune", None, "a"), Variant("omp", 0.5, "b"), Variant("parp", 0.5, "c")


def counted(variant, number, *, seed=0):
    """Rows of a model with 100 weights in the pruned tensors, 120 in the upstream, 150 in all; its size is 100 000-fold."""
    about = {"method": variant.method, "sparsity": variant.sparsity, "variant": variant.variant, "seed": seed, "set": ""}
    values = {"entries": 100, "zeros": number, "masked": number / 100, "upstream": number / 120, "model": number / 150}
    values["effective_bytes"] = 1e5 * (13 + 4 * (150 - number))
    return [replace(ROW, **about, metric=f"sparsity_{key}", value=float(value)) for key, value in values.items()]


def test_models_with_the_same_zeros_share_a_row():
    rows = [*counted(DENSE, 0), *counted(OMP, 50), *counted(OMP, 50, seed=1), *counted(PARP, 50), ROW]
    made = zeros(rows, [DENSE, OMP, PARP])
    assert made == [
        ZEROS_HEAD,
        ["0", "finetune", "0.00", "0.00", "0.00", "61.30"],
        ["0.5", "omp, parp", "50.00", "41.67", "33.33", "41.30"],
    ]


def test_a_model_that_is_off_is_seen():
    made = zeros([*counted(OMP, 50), *counted(PARP, 49)], [OMP, PARP])
    assert [cells[1:3] for cells in made[1:]] == [["parp", "49.00"], ["omp", "50.00"]]
    assert zeros([ROW], [OMP]) == [ZEROS_HEAD]


def test_bytes_of_route_files():
    """The mean of the seeds, at each sparsity of a method that has files."""
    about = {"set": "", "metric": "route_bytes", "method": "routing"}
    sizes = {(0.1, "a", 0): 1000.0, (0.1, "a", 1): 3000.0, (0.2, "b", 0): 5e6, (0.2, "c", 0): 7.0}
    rows = [replace(ROW, **about, sparsity=s, variant=v, seed=n, value=value) for (s, v, n), value in sizes.items()]
    rows.append(replace(rows[0], metric="route_bytes_masks", value=9.0))
    best = [OMP, Variant("routing", 0.1, "a"), Variant("routing", 0.2, "b")]
    assert route_files(rows, best) == [["method", "dense", "0.1", "0.2"], ["routing", "–", "2.00 kB", "5.00 MB"]]
    assert route_files(rows, [OMP]) == [["method", "dense"]]


def test_error_rates_and_curves():
    rows = [
        *(*rows_of("finetune", None, 2), *rows_of("finetune", None, 4, seed=1), *rows_of("omp", 0.5, 5)),
        *(*rows_of("omp", 0.5, 7, seed=1), *rows_of("omp", 0.8, 9, variant="w"), *rows_of("parp", 0.5, 6)),
    ]
    rates = rates_of_rows(rows, ["test"], "cer")
    assert error_rates(rates, [0.5, 0.8]) == [
        ["method", "dense", "0.5", "0.8"],
        ["finetune", "30.0 [20.0, 40.0]", "–", "–"],
        ["omp", "–", "60.0 [50.0, 70.0]", "90.0 (seed 0)"],
        ["parp", "–", "60.0 (seed 0)", "–"],
    ]
    drawn = {label: [sparsity for sparsity, _ in points] for label, points in curves(rates).items()}
    assert drawn == {"finetune (dense)": [None], "omp": [0.5, 0.8], "parp": [0.5]}
    interval = spread(rates[Variant("omp", 0.5, "v")])
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.6, 0.5, 0.7))


def test_the_mean_of_equal_rates_is_between_them():
    """Summed and divided it may be a bit above, which the plot refuses as an error bar of negative length."""
    rates = (number / 7 for number in range(1, 1000))
    value = next(rate for rate in rates if mean([rate / 100] * 3) > rate / 100)
    interval = spread(dict.fromkeys(range(3), value))
    assert interval.low <= interval.value <= interval.high


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
    assert learning_rates([*dense, *omp, *other, *high], best, ["dev"]) == [
        ["method", "dense", "0.5", "0.8", "updates", "seeds", "commits"],
        ["finetune", "**0.0001: 20.0**", "–", "–", "880", "0", "1a2b3c4"],
        ["omp", "–", "**0.001: 30.0**, 0.003: 40.0", "**0.0003: 50.0**", "9", "0, 2", "0ab, 1a2b3c4, 2ab"],
    ]


def test_curves_against_costs():
    """Means over seeds of a smaller model. The dense model is a line across, and a masked model has no such cost."""
    about = {"set": "", "method": "hj", "sparsity": 0.4, "variant": "h"}
    measured = {("macs", 0): 2e8, ("macs", 1): 4e8, ("rtf", 0): 0.25, ("rtf", 1): 0.75}
    rows = [replace(ROW, **about, metric=f"shrunk_{name}", seed=n, value=value) for (name, n), value in measured.items()]
    smaller, costs = Variant("hj", 0.4, "h"), shrunk_means([ROW, *rows])
    assert costs == {smaller: {"macs": 3e8, "rtf": 0.5}}
    rates = {DENSE: {0: 50.0}, smaller: {0: 25.0, 1: 75.0}, PARP: {0: 15.0}}
    assert cost_curves(rates, costs, "macs") == {
        "finetune (dense)": [(None, Interval(0.5, 0.5, 0.5))],
        "hj": [(3e8, Interval(0.5, 0.25, 0.75))],
    }
