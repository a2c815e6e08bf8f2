"""Figures of routing with candidates, for ``routes.py``: time of an update, and bytes of what its masks learn.

candidates_step_over_finetune: an update in which 25 % of each matrix may be removed, divided by one of finetuning. Both
include the selection of masks and Adam, and take turns in one process.
candidates_state_ratio: bytes of scores, gradients, Adam's moments and the positions of the candidates, divided by those of
scores for all weights. They are counted right after Adam's step, when all of them exist.
"""

import argparse
from pathlib import Path
from statistics import median
from typing import Any

from arms import TINY, Arm, Size, threads, write_upstream
from quiet import LoadMeter

TARGETS = {"candidates_step_over_finetune": "<= 0.98", "candidates_state_ratio": "<= 0.3"}
NAMES = ("finetune", "routing", "routing_candidates")


def learned_bytes(arm: Arm) -> int:
    """Bytes of everything that the masks of an arm need in training, without the masks; makes one update."""
    masks = arm.attached.masks.values()
    counted = 0

    def count(*unused: Any) -> None:
        nonlocal counted
        for masked in masks:
            scores, gaps = masked.scores, getattr(masked, "gaps", None)
            state = [value for value in arm.adam.state[scores].values() if value.dim()]
            counted += sum(tensor.nbytes for tensor in (scores, scores.grad, gaps, *state) if tensor is not None)

    handle = arm.adam.register_step_post_hook(count)
    arm.step()
    handle.remove()
    return counted


def measure_candidates(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All figures by key."""
    checkpoint = folder / "candidates.pt"
    write_upstream(checkpoint, TINY if args.tiny else Size())
    options = {"checkpoint": checkpoint, "device": args.device, "batch": 2, "seconds": 0.5 if args.tiny else 5.0}
    arms = {name: Arm(name, **options) for name in NAMES}
    sizes = {name: learned_bytes(arm) for name, arm in arms.items()}  # the first update, which creates Adam's state
    for arm in arms.values():
        arm.step()
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    meter = LoadMeter(threads(args.device))
    for _ in range(args.rounds):
        for name, arm in arms.items():
            with meter.region(name):
                seconds[name].append(arm.step())
    return {
        "candidates_step_over_finetune": median(seconds["routing_candidates"]) / median(seconds["finetune"]),
        "candidates_step_over_routing": median(seconds["routing_candidates"]) / median(seconds["routing"]),
        "candidates_state_ratio": sizes["routing_candidates"] / sizes["routing"],
        "candidates_quiet": meter.quiet(),
    }
