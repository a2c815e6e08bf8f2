"""Time and memory of one update for each method, at the dimensions of wav2vec2 base.

    python benchmarks/step_time.py --json [--device cuda] [--rounds 5] [--cache_frozen] [--memory] [--xls_r] [--bfloat16]

Random weights, float32 unless --bfloat16, mask selection and Adam included. All arms live in one process and take turns, so
a slow moment of the machine affects all of them. Figures are medians over the rounds. ``quiet`` is false if other processes
ran during the measurement.

Memory is the peak of a process for each method. The ratios of memory leave out the memory that a toy upstream needs: that
of libraries and code, which differs between builds of PyTorch and which a GPU's counter does not include. The megabytes
include it.
"""

import argparse
import contextlib
import io
import multiprocessing
import resource
from pathlib import Path
from statistics import median
from typing import Any

from quiet import LoadMeter
from report import run

with contextlib.redirect_stdout(io.StringIO()):  # ESPnet's imports print; --json promises one line
    import torch
    from arms import TINY, XLS_R, Arm, Size, threads, write_upstream

TIMED = ("finetune", "finetune_cnn", "head_only", "routing", "routing_all", "reference")
TARGETS = {
    "routing_over_finetune": "<= 1.05",
    "routing_over_finetune_cnn": "<= 0.92",
    "routing_cached_over_finetune_cnn": "<= 0.82",
    "reference_over_routing": ">= 2.5",
    "selection_share": "<= 0.05",
    "memory_routing_over_finetune": "<= 1.0",
    "memory_checkpointed_over_finetune": "<= 0.6",
}


def times(names: tuple[str, ...], rounds: int, options: dict[str, Any]) -> dict[str, Any]:
    """Return the median seconds of a step for each arm, and ratios of them."""
    arms = {name: Arm(name, **options) for name in names}
    for arm in arms.values():  # two steps create Adam's state, the first thresholds and the cache
        arm.step()
        arm.step()
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    shares = []
    meter = LoadMeter(threads(options["device"]))
    for _ in range(rounds):
        for name, arm in arms.items():
            with meter.region(name):
                seconds[name].append(arm.step())
        shares.append(arms["routing"].selection_seconds / seconds["routing"][-1])
    figures: dict[str, Any] = {f"{name}_s": median(values) for name, values in seconds.items()}
    for over in ("finetune", "finetune_cnn"):
        figures[f"routing_over_{over}"] = figures["routing_s"] / figures[f"{over}_s"]
    figures["reference_over_routing"] = figures["reference_s"] / figures["routing_s"]
    figures["selection_share"] = median(shares)
    if "routing_cached" in arms:
        figures["routing_cached_over_finetune_cnn"] = figures["routing_cached_s"] / figures["finetune_cnn_s"]
    return figures | {"quiet": meter.quiet()}


def _report_peak(name: str, options: dict[str, Any], answer: Any) -> None:
    arm = Arm(name, **options)
    for _ in range(2):  # the first creates Adam's state
        arm.step()
    if options["device"] == "cpu":
        answer.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)  # Linux counts KiB
    else:
        answer.send(torch.cuda.max_memory_allocated() / 2**20)


def peak(name: str, options: dict[str, Any]) -> float:
    """Return the peak memory in MiB of two updates, measured in a separate process.

    The process is forked, which saves the imports. A fork loses the threads of parallel computations, so this must come
    before the first of them.
    """
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_report_peak, args=(name, options, there))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        raise SystemExit(f"step_time: the process that measures {name} died: is there enough memory?") from None
    finally:
        process.join()


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return all figures that ``args`` requests, by key."""
    context = multiprocessing.get_context("fork")
    checkpoint = folder / "upstream.pt"
    toy = folder / "toy.pt"
    for path, size in ((checkpoint, TINY if args.tiny else XLS_R if args.xls_r else Size()), (toy, TINY)):
        writer = context.Process(target=write_upstream, args=(path, size))
        writer.start()
        writer.join()
    options = {"checkpoint": checkpoint, "device": args.device, "batch": 2, "seconds": 0.5 if args.tiny else 5.0}
    options["autocast"] = "bfloat16" if args.bfloat16 else None
    peaks = {name: peak(name, options) for name in ("finetune", "routing", "routing_all")}
    longer: dict[str, Any] = {}
    if args.memory:
        large = options | {"batch": 4, "seconds": 1.0 if args.tiny else 10.0}
        long_peaks = {name: peak(name, large) for name in ("finetune", "routing", "routing_checkpointed")}
        long_peaks["toy"] = peak("finetune", options | {"checkpoint": toy, "seconds": 0.5})
        # With --tiny a method may need no more than the toy.
        above = {name: max(value - long_peaks["toy"], 1.0) for name, value in long_peaks.items()}
        longer["memory_routing_over_finetune"] = above["routing"] / above["finetune"]
        longer["memory_checkpointed_over_finetune"] = above["routing_checkpointed"] / above["finetune"]
        longer["long_peak_mb"] = long_peaks
    names = (*TIMED, "routing_cached") if args.cache_frozen else TIMED
    return times(names, args.rounds, options) | {"peak_mb": peaks} | longer


if __name__ == "__main__":
    flags = {
        "cache_frozen": "also time routing with the output of the CNN cached",
        "memory": "also measure peak memory at 4 x 10 s of audio",
        "xls_r": "the dimensions of XLS-R 300M instead of wav2vec2 base",
        "bfloat16": "matrix products in bfloat16",
    }
    run(__doc__, TARGETS, measure, flags)
