"""Stage 18 of recipes with two tasks: what is forgotten of one when the other is learned after it, and masks of one on the
other.

python -m espnet_s3router.experiments.tasks --expdir exp/tasks --router OPTIONS OF router.sh --router OPTIONS OF router.sh
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.experiments import grid, layout
from espnet_s3router.experiments.languages import KINDS, Language, check_masks, check_own_runs, languages_of
from espnet_s3router.experiments.tasks.forgetting import (
    changed_bytes,
    check_weights,
    folders_again,
    jobs_again,
    second_runs,
)
from espnet_s3router.experiments.transfer import about_languages, groups_of, matrix_runs, scored, train_matrix
from espnet_s3router.experiments.workers.worker import close_servers
from espnet_s3router.results.pages.tasks import TasksPage, report
from espnet_s3router.results.scored_runs import ScoredRun

SEPARATOR = "--router"
FORGETTING = "forgetting"
PARTS = (FORGETTING, *KINDS)


def in_both_orders(tasks: Sequence[Language]) -> Iterator[tuple[Language, Language]]:
    """Every pair of a first task and the one that is learned after it."""
    return ((first, second) for first in tasks for second in tasks if first is not second)


def train_one_after_the_other(weights: Sequence[Language], masks: Sequence[Language]) -> dict[str, str]:
    """Train the second runs and score the first tasks again. Returns the runs that failed, with the reason."""
    check_own_runs([*weights, *masks])
    failed: dict[str, str] = {}
    for first, second in in_both_orders(weights):
        print(f"{second.name} is finetuned after {first.name}", flush=True)
        failed |= grid.run_unfinished(second.for_matrix, grid.jobs_of(second.for_matrix, second_runs(first, second)))
    for tasks, finetuned in ((weights, True), (masks, False)):
        for first, second in in_both_orders(tasks):
            kind = "weights" if finetuned else "masks"
            print(f"{first.name} is scored again after {kind} of {second.name}", flush=True)
            failed |= grid.run_unfinished(first.for_matrix, jobs_again(first, second, finetuned=finetuned))
    return failed


def write_page(weights: Sequence[Language], masks: Sequence[Language], path: Path | None) -> None:
    """Print all that is scored; write the page and its rows."""
    runs: dict[Path, ScoredRun] = {run.path: run for run in matrix_runs(masks)}
    changed: dict[str, int] = {}
    for tasks, finetuned in ((weights, True), (masks, False)):
        for first, second in in_both_orders(tasks):
            own = [first.folder(spec) for spec in first.own]
            again = folders_again(first, second, finetuned=finetuned)
            seconds = [Path(second.for_matrix.expdir, spec.name) for spec in second_runs(first, second)] if finetuned else []
            found = [*scored(first, [*own, *again]), *scored(second, seconds)]
            runs |= {run.path: run for run in found}
            changed |= changed_bytes(again)
    rows: dict[str, Any] = {"weights_row": weights[0].own[0].label, "row": masks[0].own[0].label, "control": ""}
    page, folder = TasksPage(**about_languages(masks), **rows, changed=changed), Path(masks[0].for_matrix.expdir)
    command = masks[0].options.command
    report(page, list(runs.values()), folder / layout.RESULTS, path or folder / "RESULTS.md", command)


@exit_status
def main(argv: Sequence[str] | None = None) -> int:
    """Train what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expdir", default="exp/tasks", help="folder of the runs and of the page")
    parser.add_argument("--weights", default="finetune", help="row of methods_config that trains the weights")
    parser.add_argument("--row", default="routing", help="row of methods_config that learns the masks of each task")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to train; the page has all parts"
    )
    parser.add_argument("--page", type=Path, help="Markdown file; by default RESULTS.md in the folder of the runs")
    parser.add_argument(SEPARATOR, nargs=argparse.REMAINDER, default=[], help="options of router.sh; once for each task")
    args = parser.parse_args(argv)
    groups = groups_of(args.router, SEPARATOR)
    weights, masks = (languages_of(groups, row, args.expdir) for row in (args.weights, args.row))
    if len(masks) != 2:
        raise InputError(f"the tasks are {' '.join(task.name for task in masks)}, expected two")
    if len({task.options.training_set for task in masks}) < 2:
        raise InputError(
            f"the tasks have one training set, {masks[0].options.training_set}, expected two: the page tells the tasks "
            "apart by their names"
        )
    check_weights(weights, args.weights)
    check_masks(masks, args.row)
    failed: dict[str, str] = {}
    try:
        if FORGETTING in args.parts:
            failed |= train_one_after_the_other(weights, masks)
        if kinds := [part for part in args.parts if part != FORGETTING]:
            failed |= train_matrix(masks, kinds)
    finally:
        close_servers()
    write_page(weights, masks, args.page)
    return grid.status_of(failed)


if __name__ == "__main__":
    raise SystemExit(main())
