"""A transfer matrix as a PNG: relative differences in colour, one panel for each kind of run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from espnet_s3router.files import replacing_file


def draw_heat_maps(
    panels: Mapping[str, Mapping[tuple[str, str], float]], languages: Sequence[str], path: str | Path, *, title: str
) -> None:
    """Draw ``panels`` (name -> (source, target) -> difference in percent) side by side on one scale.

    Rows are sources and columns are targets, in the order of ``languages``. Pairs without a value stay white. The scale is
    symmetric around 0, so that better and worse have colours of equal strength.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = 1.6 + 0.7 * len(languages)
    figure = Figure(figsize=(size * len(panels) + 1, size), layout="constrained")
    FigureCanvasAgg(figure)  # draws to memory, independent of the user's backend
    images = {name: _image(values, languages) for name, values in panels.items()}
    largest = max((abs(value) for values in panels.values() for value in values.values()), default=0.0) or 1.0
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, image) in zip(all_axes, images.items(), strict=True):
        drawn = axes.imshow(image, cmap="PuOr_r", vmin=-largest, vmax=largest)
        axes.set_xticks(range(len(languages)), languages, rotation=45, ha="right")
        axes.set_yticks(range(len(languages)), languages)
        axes.set_xlabel("recognised language")
        axes.set_ylabel("masks of")
        axes.set_title(name, loc="left", fontsize="medium")
        for (row, column), value in np.ndenumerate(image):
            if not np.isnan(value):
                colour = "white" if abs(value) > 0.7 * largest else "black"
                axes.text(column, row, f"{value:+.1f}", ha="center", va="center", fontsize="small", color=colour)
    figure.colorbar(drawn, ax=list(all_axes), label="relative difference to the own masks (%)")
    figure.suptitle(title, fontsize="medium")
    with replacing_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def _image(values: Mapping[tuple[str, str], float], languages: Sequence[str]) -> np.ndarray:
    """Differences (languages, languages), NaN where there is none."""
    return np.array([[values.get((source, target), np.nan) for target in languages] for source in languages])
