"""How the models of a sweep were trained, from rows of results: learning rates, updates, seeds and commits."""

from collections.abc import Sequence

from espnet_s3router.results.rows import ResultRow
from espnet_s3router.results.sweep_table import Variant, compared

CAPTION = (
    "learning rates tried and their CER in % on dev, over the seeds that all of them have; bold: chosen; optimiser updates, "
    "seeds and commits of the chosen runs"
)


def table(rows: Sequence[ResultRow], best: Sequence[Variant], dev: Sequence[str]) -> list[list[str]]:
    """Header and rows of cells, a method a row, in the order of ``best``."""
    sparsities = sorted({variant.sparsity for variant in best if variant.sparsity is not None})
    made = [["method", "dense", *(f"{sparsity:g}" for sparsity in sparsities), "updates", "seeds", "commits"]]
    tried, lrs = compared(rows, dev), {Variant.of(row): row.lr for row in rows}
    for method in dict.fromkeys(variant.method for variant in best):
        cells = []
        for sparsity in (None, *sparsities):
            means = sorted((lrs[variant], variant, mean) for variant, mean in tried.get((method, sparsity), {}).items())
            told = (f"**{lr:g}: {mean:.1f}**" if variant in best else f"{lr:g}: {mean:.1f}" for lr, variant, mean in means)
            cells.append(", ".join(told) or "–")
        ours = [row for row in rows if row.method == method and Variant.of(row) in best]
        about = (sorted({getattr(row, name) for row in ours}) for name in ("updates", "seed", "commit"))
        made.append([method, *cells, *(", ".join(map(str, values)) for values in about)])
    return made
