"""Error rate against sparsity, bytes or measured cost, as a PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espnet_s3router.files import replacing_file
from espnet_s3router.results.bootstrap import Interval

# Okabe and Ito's colours, which readers with colour blindness can tell apart. Grey replaces yellow, which is pale on
# white; brown is added.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7F7F7F", "#8C510A")
MARKERS = "osD^vPX*"
DASHES = ("--", "-.", ":", (0, (8, 3)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (5, 5)), (0, (2, 2)))


Curves = Mapping[str, Sequence[tuple[float | None, Interval]]]
"""label -> [(position on the horizontal axis, error rate as a fraction)]; without a position: a horizontal line"""


def plot_error_rate(
    curves: Curves,
    path: str | Path,
    *,
    title: str,
    metric: str,
    bars: str = "95 % bootstrap interval",
    log: bool = False,
) -> None:
    """Draw ``curves`` against sparsity (a fraction) into a PNG.

    A curve with sparsities is a line with error bars; one without is a horizontal line with a band. ``bars`` names the
    intervals. ``log`` gives a logarithmic axis: equal relative differences have equal heights, and a bad method does not
    flatten the others.
    """
    from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

    figure, axes = _axes(title, f"{metric.upper()} (%), {bars}", "Sparsity (% of the masked weights set to zero)")
    sparsities = [sparsity for points in curves.values() for sparsity, _ in points if sparsity is not None]
    masked = [label for label, points in curves.items() if any(s is not None for s, _ in points)]
    # Error bars at one sparsity stand side by side, 0.8 % of the span apart, so that none hides another.
    step = 0.8 * (max(sparsities) - min(sparsities) or 0.1) if masked else 0
    for index, (label, points) in enumerate(curves.items()):
        place = masked.index(label) - (len(masked) - 1) / 2 if label in masked else 0
        _draw(axes, index, label, points, shift=step * place)
    if len(set(sparsities)) <= 7:  # more labels would overlap
        axes.set_xticks(sorted({100 * sparsity for sparsity in sparsities}))
    if len(set(sparsities)) == 1:  # one sparsity: the span would be that of the error bars
        axes.set_xlim(100 * sparsities[0] - 5, 100 * sparsities[0] + 5)
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(ScalarFormatter())
    _save(figure, axes, path)


def plot_against_bytes(curves: Curves, path: str | Path, *, title: str, metric: str) -> None:
    """Draw ``curves`` against the bytes of route files into a PNG, on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    figure, axes = _axes(title, f"{metric.upper()} (%), 95 % bootstrap interval", "Route file (kB)")
    for index, (label, points) in enumerate(curves.items()):
        _draw(axes, index, label, points, scale=1e-3)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    _save(figure, axes, path)


def plot_against_cost(
    curves: Curves, path: str | Path, *, title: str, metric: str, bars: str, cost: str, scale: float = 1.0
) -> None:
    """Draw ``curves`` against a measured cost into a PNG. ``cost`` names the axis, in units of 1 / ``scale``."""
    figure, axes = _axes(title, f"{metric.upper()} (%), {bars}", cost)
    for index, (label, points) in enumerate(curves.items()):
        _draw(axes, index, label, points, scale=scale)
    _save(figure, axes, path)


def _axes(title: str, vertical: str, horizontal: str) -> tuple[Any, Any]:
    """A figure and its axes, with labels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.8), layout="constrained")
    FigureCanvasAgg(figure)  # draws to memory, independent of the user's backend
    axes = figure.add_subplot()
    axes.set_xlabel(horizontal)
    axes.set_ylabel(vertical)
    axes.set_title(title, loc="left", fontsize="medium", wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    return figure, axes


def _save(figure: Any, axes: Any, path: str | Path) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    with replacing_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def _draw(axes: Any, index: int, label: str, points: Sequence, *, scale: float = 100, shift: float = 0) -> None:
    """A line with error bars at ``scale`` times the positions plus ``shift``, or a horizontal line with a band."""
    colour = COLOURS[index % len(COLOURS)]
    for interval in (i for position, i in points if position is None):
        axes.axhspan(100 * interval.low, 100 * interval.high, color=colour, alpha=0.12, linewidth=0)
        axes.axhline(100 * interval.value, color=colour, linestyle=DASHES[index % len(DASHES)], label=label)
    bars = sorted((position, i.value, i.low, i.high) for position, i in points if position is not None)
    if bars:
        positions, value, low, high = np.array(bars).T
        value, low, high = 100 * value, 100 * low, 100 * high
        style = {"color": colour, "marker": MARKERS[index % len(MARKERS)], "capsize": 3, "label": label}
        axes.errorbar(scale * positions + shift, value, yerr=[value - low, high - value], **style)
