"""How the models of a sweep were trained, from rows of results: learning rates, updates, seeds and commits."""

from collections.abc import Iterable, Sequence

from espnet_s3router.recipe.results import ResultRow
from espnet_s3router.recipe.sweep_table import Variant

CAPTION = (
    "learning rate at each sparsity, the best on dev of those tried; optimiser updates, seeds and commits of these runs"
)


def table(rows: Iterable[ResultRow], best: Sequence[Variant]) -> list[list[str]]:
    """Header and rows of cells, a method a row, in the order of ``best``."""
    runs: dict[Variant, list[ResultRow]] = {}
    for row in rows:
        runs.setdefault(Variant(row.method, row.sparsity, row.variant), []).append(row)
    sparsities = sorted({variant.sparsity for variant in best if variant.sparsity is not None})
    made = [["method", "dense", *(f"{sparsity:g}" for sparsity in sparsities), "tried", "updates", "seeds", "commits"]]
    for method in dict.fromkeys(variant.method for variant in best):
        ours = {variant.sparsity: runs[variant] for variant in best if variant.method == method and variant in runs}
        tried = sorted({row.lr for variant, found in runs.items() if variant.method == method for row in found})
        lrs = [f"{ours[sparsity][0].lr:g}" if sparsity in ours else "–" for sparsity in (None, *sparsities)]
        shown = [row for found in ours.values() for row in found]
        told = (sorted({getattr(row, name) for row in shown}) for name in ("updates", "seed", "commit"))
        made.append([method, *lrs, ", ".join(f"{lr:g}" for lr in tried), *(", ".join(map(str, values)) for values in told)])
    return made
