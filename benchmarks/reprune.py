"""Time that pruning adds to training: a re-pruning every 50 updates, and holding removed weights at zero after each update.

    python benchmarks/reprune.py --json [--device cuda] [--rounds 5]

Random weights at the dimensions of wav2vec2 base, 2 x 5 s of audio, Adam. The methods run one after another. Figures are
medians over the rounds, and the weights move in each round.

reprune_share          one re-pruning of PARP over 50 updates, with its authors' ranking over all 85 million weights
reprune_matrix_share   the same with a ranking within each matrix
remask_share           PARP's form remask after every update, over one update
hold_share             holding removed weights at zero after every update, over one update
quiet                  false if other processes ran during the measurement
"""

import argparse
import contextlib
import io
from pathlib import Path
from statistics import median
from typing import Any

from quiet import LoadMeter
from report import run

with contextlib.redirect_stdout(io.StringIO()):  # ESPnet's imports print; --json promises one line
    from arms import PARP, TINY, Arm, Size, threads, write_upstream

INTERVAL = PARP["interval"]
TARGETS = {"reprune_share": "<= 0.03"}


def seconds(name: str, rounds: int, meter: LoadMeter, options: dict[str, Any]) -> tuple[float, float, float]:
    """Return the median seconds of an update, of the method's work after a usual update, and of a re-pruning."""
    arm = Arm(name, **options)
    times: list[tuple[float, float, float]] = []
    for number in range(rounds + 1):
        with meter.region(name):
            row = (arm.step(), after(arm, INTERVAL - 1), after(arm, INTERVAL))
        if number:  # the first round creates Adam's state
            times.append(row)
    update, usual, reprune = map(median, zip(*times))
    return update, usual, reprune


def after(arm: Arm, update: int) -> float:
    """Return the seconds that the method takes after this update."""
    start = arm.now()
    arm.attached.step(update, arm.adam)
    return arm.now() - start


def measure(args: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Return all figures by key."""
    checkpoint = folder / "upstream.pt"
    write_upstream(checkpoint, TINY if args.tiny else Size())
    options = {"checkpoint": checkpoint, "device": args.device, "batch": 2, "seconds": 0.5 if args.tiny else 5.0}
    meter = LoadMeter(threads(args.device))
    update, _, reprune = seconds("parp", args.rounds, meter, options)
    figures = {"update_s": update, "reprune_s": reprune, "reprune_share": reprune / (INTERVAL * update)}
    update, _, reprune = seconds("parp_matrix", args.rounds, meter, options)
    figures["reprune_matrix_share"] = reprune / (INTERVAL * update)
    for name, key in (("parp_remask", "remask_share"), ("mpi", "hold_share")):
        update, usual, _ = seconds(name, args.rounds, meter, options)
        figures[key] = usual / update
    return figures | {"quiet": meter.quiet()}


if __name__ == "__main__":
    run(__doc__, TARGETS, measure, {})
