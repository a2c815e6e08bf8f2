"""How sparse the trained models of a grid are, from rows of results: what was counted in them, not what was asked for."""

from collections.abc import Iterable, Sequence

from espnet_s3router.results.rows import OF_THE_MODEL, ResultRow
from espnet_s3router.results.sweep_table import Variant

CAPTION = "zeros counted in the trained models; MB: pruned tensors as a bitmap and what is left of them, others whole, fp32"
HEAD = ["sparsity", "method", "% of the pruned tensors", "% of the upstream", "% of the model", "MB"]

Counted = dict[str, float]  # a key of ``methods.report`` -> value


def table(rows: Iterable[ResultRow], best: Sequence[Variant]) -> list[list[str]]:
    """Header and rows of cells, by sparsity; methods (and seeds) whose models have the same share one. Only the header where
    nothing was counted."""
    counted: dict[tuple[Variant, int], Counted] = {}
    for row in rows:
        if row.metric.startswith(OF_THE_MODEL):
            model = (Variant.of(row), row.seed)
            counted.setdefault(model, {})[row.metric.removeprefix(OF_THE_MODEL)] = row.value
    methods: dict[tuple[float, tuple[str, ...]], list[str]] = {}
    for variant in best:
        for cells in dict.fromkeys(_cells(found) for (of, _), found in counted.items() if of == variant):
            methods.setdefault((variant.sparsity or 0.0, cells), []).append(variant.method)
    return [HEAD, *([f"{s:g}", ", ".join(names), *cells] for (s, cells), names in sorted(methods.items()))]


def _cells(found: Counted) -> tuple[str, ...]:
    shares = (f"{100 * found[key]:.2f}" for key in ("masked", "upstream", "model"))
    return (*shares, f"{found['effective_bytes'] / 1e6:.2f}")
