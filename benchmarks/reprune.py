"""What pruning costs beside training: a re-pruning every 50 updates, and holding removed weights at zero after each.

    python benchmarks/reprune.py --json [--device cuda] [--rounds 5]

Random weights at the dimensions of wav2vec2 base, 2 x 5 s of audio, Adam. ``reprune_share`` is the time of one re-pruning of
PARP (its authors' form, one ranking over the 85 million weights of attention and feed-forward) over that of 50 updates; the
other shares are those of a ranking within each matrix, and of what other forms do after every update over one update. One
method at a time; figures are medians over the rounds, in each of which the weights have moved.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

with contextlib.redirect_stdout(io.StringIO()):  # ESPnet's imports print; --json promises one line
    from arms import PARP, TINY, Arm, Size, write_upstream

INTERVAL = PARP["interval"]
TARGETS = {"reprune_share": "<= 0.03"}


def seconds(name: str, rounds: int, options: dict[str, Any]) -> tuple[float, float, float]:
    """Median seconds of an update, of what the method does after a usual one, and of a re-pruning."""
    arm = Arm(name, **options)
    found: dict[str, list[float]] = {"update": [], "usual": [], "reprune": []}
    for number in range(rounds + 1):
        update = arm.step()
        times = {"update": update, "usual": after(arm, INTERVAL - 1), "reprune": after(arm, INTERVAL)}
        if number:  # the first makes Adam's state
            for key, value in times.items():
                found[key].append(value)
    return median(found["update"]), median(found["usual"]), median(found["reprune"])


def after(arm: Arm, update: int) -> float:
    """Seconds that the method takes after this update."""
    start = arm.now()
    arm.attached.step(update, arm.adam)
    return arm.now() - start


def measure(args: argparse.Namespace, folder: Path) -> dict[str, float]:
    """All figures by key."""
    checkpoint = folder / "upstream.pt"
    write_upstream(checkpoint, TINY if args.tiny else Size())
    options = {"checkpoint": checkpoint, "device": args.device, "batch": 2, "seconds": 0.5 if args.tiny else 5.0}
    update, _, reprune = seconds("parp", args.rounds, options)
    found = {"update_s": update, "reprune_s": reprune, "reprune_share": reprune / (INTERVAL * update)}
    update, _, reprune = seconds("parp_matrix", args.rounds, options)
    found["reprune_matrix_share"] = reprune / (INTERVAL * update)
    for name, key in (("parp_remask", "remask_share"), ("mpi", "hold_share")):
        update, usual, _ = seconds(name, args.rounds, options)
        found[key] = usual / update
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rounds", type=int, default=5, help="updates per method after one to warm up (at least 3)")
    parser.add_argument("--tiny", action="store_true", help="a toy upstream: the benchmark runs, its figures mean nothing")
    args = parser.parse_args()
    if args.rounds < 3:
        parser.error(f"--rounds is {args.rounds}, expected at least 3: the figures are medians")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        found = measure(args, Path(folder))
    if args.json:
        print(json.dumps({key: float(f"{value:.4g}") for key, value in found.items()}))
    else:
        print("\n".join(f"{key:24}{value:>10.4f}  {TARGETS.get(key, '')}".rstrip() for key, value in found.items()))


if __name__ == "__main__":
    main()
