"""Learning curves of pretraining: accuracy of masked prediction, one panel for each iteration."""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.errors import InputError
from espnet_s3router.files import replacing_file


def read_log(folder: Path) -> list[dict[str, float]]:
    """Return the rows of a run's ``log.tsv``. Raises InputError if there are none."""
    try:
        with (folder / "log.tsv").open(encoding="utf-8", newline="") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file, delimiter="\t")]
    except OSError as error:
        raise InputError(f"{folder} holds no log.tsv ({error.strerror}): pretrain first") from error
    if not rows:
        raise InputError(f"{folder / 'log.tsv'} holds no row yet: pretrain longer")
    return rows


def plot(folders: Sequence[Path], output: Path) -> None:
    """Write the plot as a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    logs = [read_log(folder) for folder in folders]
    figure, panels = pyplot.subplots(1, len(logs), figsize=(4.5 * len(logs), 3.4), squeeze=False, layout="constrained")
    for number, (panel, rows) in enumerate(zip(panels[0], logs), 1):
        updates = [row["update"] for row in rows]
        for key, label in (
            ("dev_masked_accuracy", "masked frames, held out"),
            ("masked_accuracy", "masked frames, training"),
            ("unmasked_accuracy", "unmasked frames, training"),
        ):
            panel.plot(updates, [100 * row[key] for row in rows], label=label)
        panel.set(title=f"iteration {number}", xlabel="updates", ylabel="clusters predicted right (%)", ylim=(0, None))
        panel.grid(alpha=0.3)
    panels[0][0].legend(fontsize="small")
    with replacing_file(output) as temporary:
        figure.savefig(temporary, dpi=150)
    pyplot.close(figure)


def run(args: argparse.Namespace) -> None:
    """Plot the curves and print the last row of each."""
    plot(args.folders, args.output)
    for folder in args.folders:
        last = read_log(folder)[-1]
        accuracy = f"{last['dev_masked_accuracy']:.1%} of held-out masked frames right"
        print(f"{folder}: {last['update']:.0f} updates, {last['hours']:.2f} h, {accuracy}")
