"""What stands in a plot of error rates against sparsity, as matplotlib has it before it becomes a PNG."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from espnet_s3router.results.plot import plot_error_rate
from espnet_s3router.results.select import Variant
from espnet_s3router.results.tables import curves

# Error rates of seeds in percent: three, whose mean is not in the middle of them, two or one.
FOUND = {
    "finetune": {None: {0: 20.0, 1: 26.0, 2: 20.0}},
    "parp": {0.7: {0: 61.0, 1: 70.0, 2: 64.0}, 0.3: {0: 30.0, 1: 33.0}},
    "omp": {0.3: {0: 41.0, 1: 40.0}, 0.5: {0: 50.0, 1: 56.0}, 0.7: {0: 90.0}},
    "rp": {0.3: {0: 80.0, 1: 81.0}, 0.5: {0: 88.0, 1: 84.0}, 0.7: {0: 99.0, 1: 95.0}},
}
PRUNED = {method: FOUND[method] for method in FOUND if method != "finetune"}


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """draw(error rates, **options) -> the axes of the plot."""
    figures = []

    def savefig(figure, path, **options):
        figures.append(figure)
        Path(path).touch()

    monkeypatch.setattr(Figure, "savefig", savefig)

    def call(found, **options):
        rates = {Variant(name, s, "v"): seeds for name, of_sparsity in found.items() for s, seeds in of_sparsity.items()}
        plot_error_rate(curves(rates), tmp_path / "plot.png", title="a title", metric="cer", **options)
        (axes,) = figures.pop().axes
        return axes

    return call


def bars(axes):
    """Label -> (sparsities, values, (lowest, highest) of each) of every line with error bars."""
    found = {}
    for container in axes.containers:
        line, _, (collection,) = container
        assert container.get_label() not in found
        found[container.get_label()] = (line.get_xdata(), line.get_ydata(), [s[:, 1] for s in collection.get_segments()])
    return found


def test_a_line_of_means_for_each_method_with_bars_to_the_lowest_and_highest_seed(draw):
    found = bars(draw(FOUND))
    assert list(found) == list(PRUNED)
    for method, (_, values, ends) in found.items():
        seeds = [list(of_seed.values()) for _, of_seed in sorted(PRUNED[method].items())]
        assert values == pytest.approx([np.mean(rates) for rates in seeds])
        assert np.array(ends) == pytest.approx(np.array([[min(rates), max(rates)] for rates in seeds]))


def test_lines_stand_at_their_sparsities_side_by_side(draw):
    """In the order of the methods, and so close together that it is plain which sparsity they are of."""
    axes = draw(FOUND)
    found = {method: places for method, (places, _, _) in bars(axes).items()}
    for method, places in found.items():
        assert places == pytest.approx([100 * sparsity for sparsity in sorted(PRUNED[method])], abs=0.5)
    assert found["omp"] == pytest.approx([30, 50, 70])
    assert found["parp"][0] < found["omp"][0] < found["rp"][0]
    assert axes.get_xticks() == pytest.approx([30, 50, 70])


def test_the_dense_model_is_a_horizontal_line_in_a_band(draw):
    axes = draw(FOUND)
    (line,) = (line for line in axes.lines if line.get_label() == "finetune (dense)")
    assert line.get_ydata() == pytest.approx([22.0, 22.0])
    assert list(line.get_xdata()) == [0, 1] and line.get_transform() == axes.get_yaxis_transform(which="grid")
    (band,) = axes.patches
    heights = band.get_patch_transform().transform(band.get_path().vertices)[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((20.0, 26.0))
    assert not draw(PRUNED).patches


def test_legend_and_axes_say_what_is_drawn(draw):
    axes = draw(FOUND, bars="lowest and highest of 3 seeds")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["finetune (dense)", *PRUNED]
    assert axes.get_ylabel() == "CER (%), lowest and highest of 3 seeds" and axes.get_title(loc="left") == "a title"
    assert [draw(FOUND, log=log).get_yscale() for log in (False, True)] == ["linear", "log"]
