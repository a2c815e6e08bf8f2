"""How long one update takes and how much memory it needs, by method, at the dimensions of wav2vec2 base.

    python benchmarks/step_time.py --json [--device cuda] [--rounds 5] [--cache_frozen] [--memory]

Random weights, float32, mask selection and Adam included. All arms live in one process and take turns, so a slow moment of
the machine falls on all of them; figures are medians over the rounds. Memory is the peak of a process per method. The ratios
of memory leave out what a process needs on a toy upstream already: libraries and code, which differ between builds of
PyTorch and which a GPU's counter does not see either; the megabytes hold them.
"""

import argparse
import contextlib
import io
import json
import multiprocessing
import resource
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

with contextlib.redirect_stdout(io.StringIO()):  # ESPnet's imports print; --json promises one line
    import torch
    from arms import TINY, Arm, Size, write_upstream

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
    """Median seconds of a step by arm and what follows from them."""
    arms = {name: Arm(name, **options) for name in names}
    for arm in arms.values():  # Adam's state, the first thresholds, the cache
        arm.step()
        arm.step()
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    shares = []
    for _ in range(rounds):
        for name, arm in arms.items():
            seconds[name].append(arm.step())
        shares.append(arms["routing"].selection_seconds / seconds["routing"][-1])
    found: dict[str, Any] = {f"{name}_s": median(values) for name, values in seconds.items()}
    for over in ("finetune", "finetune_cnn"):
        found[f"routing_over_{over}"] = found["routing_s"] / found[f"{over}_s"]
    found["reference_over_routing"] = found["reference_s"] / found["routing_s"]
    found["selection_share"] = median(shares)
    if "routing_cached" in arms:
        found["routing_cached_over_finetune_cnn"] = found["routing_cached_s"] / found["finetune_cnn_s"]
    return found


def _report_peak(name: str, options: dict[str, Any], answer: Any) -> None:
    arm = Arm(name, **options)
    for _ in range(2):  # the first makes Adam's state
        arm.step()
    if options["device"] == "cpu":
        answer.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)  # Linux counts KiB
    else:
        answer.send(torch.cuda.max_memory_allocated() / 2**20)


def peak(name: str, options: dict[str, Any]) -> float:
    """Peak memory in MiB of two updates in a process of their own.

    Forked, to be spared the imports: so this must come before the first parallel computation of this process, whose threads
    a fork would lose.
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
    """All figures that ``args`` asks for, by key."""
    context = multiprocessing.get_context("fork")
    checkpoint = folder / "upstream.pt"
    toy = folder / "toy.pt"
    for path, size in ((checkpoint, TINY if args.tiny else Size()), (toy, TINY)):
        writer = context.Process(target=write_upstream, args=(path, size))
        writer.start()
        writer.join()
    options = {"checkpoint": checkpoint, "device": args.device, "batch": 2, "seconds": 0.5 if args.tiny else 5.0}
    peaks = {name: peak(name, options) for name in ("finetune", "routing", "routing_all")}
    longer: dict[str, Any] = {}
    if args.memory:
        large = options | {"batch": 4, "seconds": 1.0 if args.tiny else 10.0}
        long_peaks = {name: peak(name, large) for name in ("finetune", "routing", "routing_checkpointed")}
        long_peaks["toy"] = peak("finetune", options | {"checkpoint": toy, "seconds": 0.5})
        above = {name: max(value - long_peaks["toy"], 1.0) for name, value in long_peaks.items()}  # a toy may need no more
        longer["memory_routing_over_finetune"] = above["routing"] / above["finetune"]
        longer["memory_checkpointed_over_finetune"] = above["routing_checkpointed"] / above["finetune"]
        longer["long_peak_mb"] = long_peaks
    names = (*TIMED, "routing_cached") if args.cache_frozen else TIMED
    return times(names, args.rounds, options) | {"peak_mb": peaks} | longer


def table(found: dict[str, Any]) -> str:
    """A line per figure, with its target where it has one."""
    flat: dict[str, float] = {}
    for key, value in found.items():
        flat |= {f"{key} {name}": mb for name, mb in value.items()} if isinstance(value, dict) else {key: value}
    return "\n".join(f"{key:36}{value:>10.3f}  {TARGETS.get(key, '')}".rstrip() for key, value in flat.items())


def rounded(value: Any) -> Any:
    """Four significant digits, within dictionaries too."""
    return {k: rounded(v) for k, v in value.items()} if isinstance(value, dict) else float(f"{value:.4g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rounds", type=int, default=5, help="steps per arm after two to warm up (at least 3)")
    parser.add_argument("--cache_frozen", action="store_true", help="also routing with the CNN's output cached")
    parser.add_argument("--memory", action="store_true", help="also peak memory at 4 x 10 s of audio")
    parser.add_argument("--tiny", action="store_true", help="a toy upstream: the benchmark runs, its figures mean nothing")
    args = parser.parse_args()
    if args.rounds < 3:
        parser.error(f"--rounds is {args.rounds}, expected at least 3: the figures are medians")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        found = measure(args, Path(folder))
    print(json.dumps(rounded(found)) if args.json else table(found))


if __name__ == "__main__":
    main()
