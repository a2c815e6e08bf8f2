"""Tables by sparsity, from rows of results: error rates, learning rates, and zeros counted in the trained models.

A table is a list of rows of cells, the header first. Rows of several machines may be merged beforehand.
"""

from collections.abc import Iterable, Mapping, Sequence

from espnet_s3router.results.bootstrap import Interval
from espnet_s3router.results.plot import Curves
from espnet_s3router.results.rows import MODEL_METRIC, ROUTE_METRIC, SHRUNK_METRIC, ResultRow, shown_value
from espnet_s3router.results.select import Rates, SeedRates, Variant, dev_means, mean, rates_of_rows
from espnet_s3router.text_format import scaled

Table = list[list[str]]
DENSE_COLUMN = "dense"
NOTHING = "–"
LEARNING_RATES = (
    "learning rates tried and their {metric} in % on dev, over the seeds that all of them have; bold: chosen; optimiser "
    "updates, seeds and commits of the chosen runs"
)
ROUTE_FILES = "route files, with masks, head and tokens: mean of the seeds"
ZEROS = "zeros counted in the trained models; MB: pruned tensors as a bitmap and what is left of them, others whole, fp32"
SMALLER = (
    "smaller models: the upstream without the head, GMACs for a second of audio (1 MAC = 2 FLOPs), real-time factor of "
    "encoding on the machine of the run"
)
SMALLER_HEAD = ["method", "target", "reached", "M parameters", "GMACs", "RTF", "RTF dense", "speed-up"]
ZEROS_HEAD = ["sparsity", "method", "% of the pruned tensors", "% of the upstream", "% of the model", "MB"]


def by_sparsity(
    cells: Mapping[tuple[str, float | None], str], sparsities: Iterable[float], *, dense: bool = True, corner: str = "method"
) -> Table:
    """A row for each name, in order of appearance, and a column for each sparsity. ``cells``: (name, sparsity) -> text."""
    columns = [None, *sparsities] if dense else list(sparsities)
    head = [DENSE_COLUMN if sparsity is None else f"{sparsity:g}" for sparsity in columns]
    names = dict.fromkeys(name for name, _ in cells)
    return [[corner, *head], *([name, *(cells.get((name, s), NOTHING) for s in columns)] for name in names)]


def error_rates(rates: Rates, sparsities: Iterable[float]) -> Table:
    """A method per row and a sparsity per column: the mean of the seeds with the lowest and the highest."""
    seeds = {seed for of_seed in rates.values() for seed in of_seed}
    return by_sparsity({v[:2]: _rate_cell(of_seed, len(seeds)) for v, of_seed in rates.items()}, sparsities)


def _rate_cell(seeds: SeedRates, all_seeds: int) -> str:
    """For example 33.5 [32.9, 34.2], followed by the seeds if some are missing."""
    values = list(seeds.values())
    text = f"{mean(values):.1f}"
    if len(values) > 1:
        text += f" [{min(values):.1f}, {max(values):.1f}]"
    if len(values) == all_seeds:
        return text
    return f"{text} (seed{'s' * (len(values) > 1)} {', '.join(map(str, sorted(seeds)))})"


def spread(seeds: SeedRates) -> Interval:
    """Mean, lowest and highest over seeds, as fractions."""
    values = [value / 100 for value in seeds.values()]
    low, high = min(values), max(values)
    return Interval(min(max(mean(values), low), high), low, high)  # a rounded mean may lie outside equal values


def curves(rates: Rates) -> dict[str, list[tuple[float | None, Interval]]]:
    """Curves of a plot: label -> points of (sparsity, mean with the lowest and the highest seed)."""
    by_method: dict[str, list[tuple[float | None, Interval]]] = {}
    for variant, seeds in rates.items():
        by_method.setdefault(variant.method, []).append((variant.sparsity, spread(seeds)))
    dense = {method for method, points in by_method.items() if None in dict(points)}
    return {f"{method} (dense)" if method in dense else method: points for method, points in by_method.items()}


def learning_rates(rows: Sequence[ResultRow], best: Sequence[Variant], dev: Sequence[str], metric: str = "cer") -> Table:
    """The learning rates that were compared on the validation set, a method per row in the order of ``best``."""
    sparsities = sorted({variant.sparsity for variant in best if variant.sparsity is not None})
    lrs, cells = {Variant.of(row): row.lr for row in rows}, {}
    means = dev_means(rates_of_rows(rows, dev, metric))
    methods = list(dict.fromkeys(variant.method for variant in best))
    for method, sparsity in ((method, sparsity) for method in methods for sparsity in (None, *sparsities)):
        found = means.get((method, sparsity), {})
        tried = sorted((lrs[variant], variant, shown_value(metric, rate)) for variant, rate in found.items())
        texts = (f"**{lr:g}: {rate:.1f}**" if variant in best else f"{lr:g}: {rate:.1f}" for lr, variant, rate in tried)
        cells[method, sparsity] = ", ".join(texts) or NOTHING
    table = by_sparsity(cells, sparsities)
    table[0] += ["updates", "seeds", "commits"]
    for line in table[1:]:
        chosen = [row for row in rows if row.method == line[0] and Variant.of(row) in best]
        values = (sorted({getattr(row, name) for row in chosen}) for name in ("updates", "seed", "commit"))
        line += [", ".join(map(str, column)) for column in values]
    return table


def zeros(rows: Iterable[ResultRow], best: Sequence[Variant]) -> Table:
    """Zeros counted in the models, by sparsity. Methods (and seeds) with equal counts share a row.

    Only the header if nothing was counted.
    """
    counted: dict[tuple[Variant, int], dict[str, float]] = {}  # (variant, seed) -> a key of the report -> value
    for row in rows:
        if row.metric.startswith(MODEL_METRIC):
            counted.setdefault((Variant.of(row), row.seed), {})[row.metric.removeprefix(MODEL_METRIC)] = row.value
    methods: dict[tuple[float, tuple[str, ...]], list[str]] = {}
    for variant in best:
        for cells in dict.fromkeys(_zeros_cells(found) for (other, _), found in counted.items() if other == variant):
            methods.setdefault((variant.sparsity or 0.0, cells), []).append(variant.method)
    return [ZEROS_HEAD, *([f"{s:g}", ", ".join(names), *cells] for (s, cells), names in sorted(methods.items()))]


def route_files(rows: Iterable[ResultRow], best: Sequence[Variant]) -> Table:
    """Mean bytes of route files over seeds, a method per row and a sparsity per column. Only the header if there is none."""
    sizes: dict[Variant, list[float]] = {}
    for row in rows:
        if row.metric == f"{ROUTE_METRIC}bytes":
            sizes.setdefault(Variant.of(row), []).append(row.value)
    cells = {variant[:2]: f"{scaled(mean(sizes[variant]))}B" for variant in best if variant in sizes}
    return by_sparsity(cells, sorted({sparsity for _, sparsity in cells if sparsity is not None}))


def smaller_models(rows: Iterable[ResultRow], best: Sequence[Variant]) -> Table:
    """Sizes and speed of models without removed units, means over seeds. Only the header if there is none."""
    found, lines = shrunk_means(rows), []
    for variant in sorted((variant for variant in best if variant in found), key=lambda v: (v.method, v.sparsity or 0.0)):
        means = found[variant]
        speed = (f"{means['rtf']:.4f}", f"{means['rtf_dense']:.4f}", f"{means['rtf_dense'] / means['rtf']:.2f}")
        sizes = (f"{means['sparsity']:.4f}", f"{means['parameters'] / 1e6:.3f}", f"{means['macs'] / 1e9:.3f}")
        lines.append([variant.method, f"{variant.sparsity:g}", *sizes, *speed])
    return [SMALLER_HEAD, *lines]


def shrunk_means(rows: Iterable[ResultRow]) -> dict[Variant, dict[str, float]]:
    """What was measured of models without removed units: variant -> measure -> mean over seeds."""
    found: dict[Variant, dict[str, list[float]]] = {}
    for row in rows:
        if row.metric.startswith(SHRUNK_METRIC):
            found.setdefault(Variant.of(row), {}).setdefault(row.metric.removeprefix(SHRUNK_METRIC), []).append(row.value)
    return {variant: {name: mean(values) for name, values in measured.items()} for variant, measured in found.items()}


def cost_curves(rates: Rates, costs: Mapping[Variant, Mapping[str, float]], measure: str) -> Curves:
    """Curves of a plot against a measured cost: label -> points of (cost, mean with the lowest and the highest seed).

    Dense models have no cost: they are a line across.
    """
    curves: dict[str, list[tuple[float | None, Interval]]] = {}
    for variant, seeds in rates.items():
        if variant.sparsity is None or variant in costs:
            label = variant.method if variant in costs else f"{variant.method} (dense)"
            curves.setdefault(label, []).append((costs.get(variant, {}).get(measure), spread(seeds)))
    return curves


def _zeros_cells(found: Mapping[str, float]) -> tuple[str, ...]:
    shares = (f"{100 * found[key]:.2f}" for key in ("masked", "upstream", "model"))
    return (*shares, f"{found['effective_bytes'] / 1e6:.2f}")
