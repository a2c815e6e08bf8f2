"""What is forgotten of a task when another one is learned after it, with weights that train and with masks.

Finetuning of the second task starts from the weights that the first one left. Masks of the second task are those of its own
run, as they leave the weights alone. Then the first task is scored again: with its own head and masks, on the upstream that
the second run left.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from espnet_s3router.errors import InputError
from espnet_s3router.experiments import grid, layout
from espnet_s3router.experiments.languages import Language, renamed
from espnet_s3router.experiments.specification import Spec, store
from espnet_s3router.experiments.workers.job import Job
from espnet_s3router.results.pages.tasks import after, then

CHANGES = "changes.json"
"""In the folder of a run that is scored again: the shared weights that the later run changed, in numbers and bytes."""


class Again(NamedTuple):
    """A run of the first task, to be scored again after a run of the second one."""

    spec: Spec
    first: Path
    later: Path
    later_task: str


def check_weights(tasks: Sequence[Language], row: str) -> None:
    """Raises InputError if the own runs do not train the weights from those of the upstream."""
    for task in tasks:
        method = task.own[0].mask_conf["method"]
        if method != "finetune":
            raise InputError(f"--weights is {row!r} with method {method}, expected a row with method finetune")
        if task.options.pretrained_model:
            raise InputError(
                f"{task.name}: --pretrained_model is {task.options.pretrained_model}, expected none: the second task starts "
                "from the weights that the first one left"
            )


def second_runs(first: Language, second: Language) -> list[Spec]:
    """The runs of ``second`` that start from the finetuned weights of ``first``."""
    found = []
    for theirs, ours in zip(first.own, second.own, strict=True):
        label = after(ours.label, first.name)
        config = {**ours.config, "init_param": [f"{first.model(theirs)}:frontend:frontend"]}
        found.append(Spec(renamed(ours, second.options, label), config, label=label))
    return found


def scored_again(first: Language, second: Language, *, finetuned: bool) -> Iterator[Again]:
    """Each run of ``first``, after the run of ``second`` that follows it. ``finetuned``: that run trained the weights."""
    followers = second_runs(first, second) if finetuned else second.own
    for ours, later in zip(first.own, followers, strict=True):
        folder = Path(second.for_matrix.expdir, later.name) if finetuned else second.folder(later)
        label = then(ours.label, second.name)
        spec = Spec(renamed(ours, first.options, label), ours.config, label=label)
        yield Again(spec, first.model(ours), folder / second.options.inference_asr_model, second.options.espnet_task)


def jobs_again(first: Language, second: Language, *, finetuned: bool) -> list[Job]:
    """The jobs that score the runs of ``first`` again. Runs of ``second`` that are not trained are left out."""
    jobs, options = [], first.for_matrix
    for again in scored_again(first, second, finetuned=finetuned):
        if not layout.is_trained(again.later.parent):
            continue
        job = grid.job_of(options, store(again.spec, options.expdir), label=again.spec.label)
        words = [*job.arguments, "--first", str(again.first), "--later", str(again.later), "--later_task", again.later_task]
        jobs.append(dataclasses.replace(job, module="espnet_s3router.experiments.tasks.after", arguments=tuple(words)))
    return jobs


def folders_again(first: Language, second: Language, *, finetuned: bool) -> list[Path]:
    """The experiment folders of ``jobs_again``."""
    return [Path(first.for_matrix.expdir, again.spec.name) for again in scored_again(first, second, finetuned=finetuned)]


def changed_bytes(folders: Sequence[Path]) -> dict[str, int]:
    """Bytes of the shared weights that the later run changed, by the name of each folder that has been put together."""
    files = [folder / CHANGES for folder in folders if (folder / CHANGES).is_file()]
    return {file.parent.name: json.loads(file.read_text(encoding="utf-8"))["bytes"] for file in files}
