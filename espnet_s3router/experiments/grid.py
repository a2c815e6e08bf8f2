"""Stages 10 to 13 of a recipe: statistics once, then a grid of runs, several at a time, each of them resumable.

python -m espnet_s3router.experiments.grid --options FILE
"""

import argparse
import dataclasses
import hashlib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.experiments import layout
from espnet_s3router.experiments.options import DEPLOY, Options
from espnet_s3router.experiments.single.decoding import is_decoded, is_scored
from espnet_s3router.experiments.single.deployment import is_deployed
from espnet_s3router.experiments.single.provenance import changed_origin
from espnet_s3router.experiments.single.run import PRELOAD
from espnet_s3router.experiments.specification import (
    Assignment,
    Spec,
    expand,
    merge,
    merged_files,
    parse_assignment,
    set_path,
    store,
)
from espnet_s3router.experiments.statistics import collect_stats, collected
from espnet_s3router.experiments.upstream_check import check_before_data, check_before_training
from espnet_s3router.experiments.workers.cluster import check_options, connect
from espnet_s3router.experiments.workers.job import Job
from espnet_s3router.experiments.workers.pool import run_jobs
from espnet_s3router.experiments.workers.worker import close_servers
from espnet_s3router.files import read_yaml
from espnet_s3router.results.rows import Place
from espnet_s3router.text_files import read_tokens
from espnet_s3router.upstreams.families import FAMILIES, family_named

CRITERION_OF_MODEL = re.compile(r"((?:train|valid)\..+)\.(?:best|ave(?:_\d+best)?)\.pth")
"""Matches the model files that ESPnet names by a criterion."""
ESPNETS_CRITERIA = [("train", "loss"), ("valid", "loss"), ("train", "acc"), ("valid", "acc")]
"""The criteria by which ESPnet keeps models if the configuration names none."""


# --- the runs that the options describe


def assignments_of(options: Options) -> list[Assignment]:
    """The values that ``--asr_args`` sets."""
    return [parse_assignment(text) for text in options.asr_args]


def base_of(options: Options, assignments: Iterable[Assignment]) -> dict[str, Any]:
    """The configuration that all methods share: the files, the assignments on top of them, then the upstream."""
    base = merged_files(options.asr_config)
    for key, value in assignments:
        set_path(base, key, value)
    if options.upstream:  # the path in the files belongs to another upstream
        source = {"upstream": options.upstream, "path_or_url": options.upstream_path or None}
        base = merge(base, {"frontend_conf": {"frontend_conf": source}})
    if base.get("frontend") != "masked_upstream" or "mask_conf" not in base.get("frontend_conf", {}):
        raise InputError(f"{options.asr_config[0]}: expected frontend: masked_upstream with a mask_conf in frontend_conf")
    if options.token_type != "char":  # for characters nothing is added: results are kept by the hash of the configuration
        base |= {"token_type": options.espnet_token_type, "bpemodel": options.bpe_model or None}
    if options.cleaner != "none":
        base |= {"cleaner": options.cleaner}
    return base | ({"init_param": [options.pretrained_model]} if options.pretrained_model else {})


def specs_of(options: Options) -> list[Spec]:
    """The runs of the grid. Raises InputError before anything runs."""
    base, methods = base_of(options, assignments_of(options)), merged_files(options.methods_config)
    if not options.methods:  # the configuration itself is the experiment
        label = Path(options.asr_config[0]).stem.removeprefix("train_asr").removeprefix("train_").strip("_")
        methods = {label or base["frontend_conf"]["mask_conf"]["method"]: {}}
    grid: dict[str, Any] = {"sparsities": options.sparsities, "lrs": options.lrs, "seeds": options.seeds}
    grid |= {"prefix": options.experiment_prefix, "assignments": assignments_of(options)}
    specs = expand(base, methods, options.methods or list(methods), **grid)
    check_model(specs, options)
    return specs if options.methods else [dataclasses.replace(spec, label="") for spec in specs]


def places_of(options: Options) -> set[Place]:
    """Recipe, upstream and training set of the results of a grid: one place, unless methods change the upstream."""
    base, methods = base_of(options, assignments_of(options)), merged_files(options.methods_config)
    rows = [methods.get(name, {}) for name in options.methods] or [{}]
    return {(options.recipe_name, Spec("", merge(base, row)).upstream, options.training_set) for row in rows}


def frames_of(options: Options) -> tuple[int, int]:
    """Hop and receptive field, in samples, of the upstreams of all runs: the largest ones, which give the fewest frames.

    An upstream whose name tells no family counts as one with the CNN of wav2vec 2.0, and is named in a notice.
    """
    base, rows = base_of(options, assignments_of(options)), merged_files(options.methods_config)
    names = {*options.methods, *options.prune_methods} & rows.keys() or {""}
    sources = [merge(base, rows.get(name, {}))["frontend_conf"]["frontend_conf"] for name in names]
    upstreams = sorted({source["upstream"] for source in sources})
    families = [family_named(upstream) for upstream in upstreams]
    for upstream in (name for name, family in zip(upstreams, families, strict=True) if family is None):
        print(f"notice: the frames of {upstream} are unknown, taken are those of {FAMILIES[0].name} models", file=sys.stderr)
    known = [family or FAMILIES[0] for family in families]
    return max(family.frame_hop for family in known), max(family.first_frame for family in known)


def check_model(specs: Iterable[Spec], options: Options) -> None:
    """Raises InputError, before anything is trained, if training will not keep the model to decode with."""
    named = CRITERION_OF_MODEL.fullmatch(options.inference_asr_model)
    if not named or options.stage > 11 or options.stop_stage < 12:
        return
    for spec in specs:
        criteria = spec.config.get("best_model_criterion", ESPNETS_CRITERIA)
        kept = [f"{phase}.{key}" for phase, key, *_ in criteria]
        if named[1] not in kept:
            raise InputError(
                f"--inference_asr_model is {options.inference_asr_model}, and best_model_criterion of {spec.name} keeps "
                f"models by {', '.join(kept)}. Choose one of these, such as {kept[0]}.ave.pth, or add the other one to it"
            )


# --- stages 11 to 13


def folder_of(spec: Spec, options: Options) -> Path:
    """The experiment folder of a run, with its configuration in it. Raises InputError if the folder holds a run of another
    configuration, or one that was trained on other data or tokens."""
    folder = store(spec, options.expdir)
    if not (folder / layout.ESPNET_CONFIG).exists() or not layout.is_started(folder):
        return folder
    trained = read_yaml(folder / layout.ESPNET_CONFIG)
    for part, expected in (("train", options.training_set), ("valid", options.valid_set)):
        names = {Path(path).parent.name for path, *_ in trained[f"{part}_data_path_and_name_and_type"]}
        if names != {expected}:
            raise InputError(
                f"{folder} was trained with --{part}_set {' '.join(sorted(names))}, now it is {expected}. Remove the "
                "folder to train anew, or keep both with --asr_tag or --expdir"
            )
    before, now = trained.get("token_list"), read_tokens(options.token_list)
    if isinstance(before, list) and before != now:
        raise InputError(
            f"{folder} was trained with other tokens ({len(before)}) than {options.token_list} holds ({len(now)}), or in "
            "another order. Remove the folder to train anew, or keep both with --asr_tag or --expdir"
        )
    return folder


def options_file(options: Options) -> Path:
    """The file that the processes of single runs read the options from. Its name is a digest of its content, so that grids
    that run at the same time do not disturb each other."""
    return Path(options.expdir, layout.OPTIONS, f"{hashlib.sha256(options.text().encode()).hexdigest()[:10]}.yaml")


def job_of(options: Options, folder: Path, *, label: str = "", after: str = "", stage: int | None = None) -> Job:
    """The job of the run in an experiment folder. ``label``: see ``Spec``; ``stage``: its first stage, if not that of the
    options; ``after``: the run that it starts from."""
    words = ["--options", str(options_file(options)), "--folder", str(folder), "--label", label]
    words += [] if stage is None else ["--stage", str(stage)]
    log, progress = folder / layout.RUN_LOG, folder / layout.PROGRESS
    return Job(folder.name, "espnet_s3router.experiments.single.run", tuple(words), log, progress, after, preload=PRELOAD)


def jobs_of(options: Options, specs: Sequence[Spec]) -> list[Job]:
    """One job per run. All folders are checked before the first job starts."""
    return [job_of(options, folder_of(spec, options), label=spec.label) for spec in specs]


def run_unfinished(options: Options, jobs: Sequence[Job]) -> dict[str, str]:
    """Run the jobs that are not finished. Returns the names of those that failed, with the reason. Raises InputError if
    there are no workers, or if an upstream cannot be loaded."""
    jobs = [dataclasses.replace(job, leads=leads(job, jobs)) for job in jobs]
    left = [job for job in jobs if not finished(job.log.parent, options)]
    print(f"{len(jobs) - len(left)} of {len(jobs)} runs finished before", flush=True)
    if not left:
        return {}
    if options.stage <= 11:
        check_before_training(options, [job.log.parent for job in left], len(jobs))
    options.write(options_file(options))
    with connect(options, len(left), len(jobs)) as workers:
        return run_jobs(left, workers)


def leads(job: Job, jobs: Sequence[Job]) -> bool:
    """True if all other jobs come after this one."""
    return all(other.after == job.name for other in jobs if other is not job)


def finished(folder: Path, options: Options) -> bool:
    """True if the stages of the options are finished for the run in an experiment folder."""
    if options.stage == DEPLOY:
        return is_deployed(folder, options)
    trained = options.stage > 11 or (layout.is_trained(folder) and not changed_origin(folder))
    if options.stop_stage < 12:
        return trained
    done = is_decoded if options.stop_stage == 12 else is_scored  # scored implies decoded
    return trained and all(done(folder / options.decoding_tag / name, options) for name in options.test_sets)


def status_of(failed: Mapping[str, str]) -> int:
    """Print the runs that failed. Returns the exit status of a grid: 1 if there are any; the others are finished then."""
    for name, reason in failed.items():
        print(f"error: {name} failed: {reason}", file=sys.stderr)
    return 1 if failed else 0


# --- the commands


def parse_arguments(description: str | None, argv: Sequence[str] | None) -> tuple[Options, argparse.Namespace]:
    """The options of a grid or a sweep, checked, and the flags of the command."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--options", type=Path, required=True, help="file that experiments.options has written")
    parser.add_argument("--only_check", action="store_true", help="report what is wrong with the options, and run nothing")
    parser.add_argument("--frames", action="store_true", help="print frames of the upstreams, as options of the data filter")
    args = parser.parse_args(argv)
    options = Options.read(args.options)
    options.check()
    check_options(options)
    if not (args.only_check or args.frames):
        options.check_unseen()
    return options, args


@exit_status
def main(argv: Sequence[str] | None = None) -> int:
    """Run the grid."""
    options, args = parse_arguments(__doc__, argv)
    if args.frames:
        print("--hop {} --receptive_field {}".format(*frames_of(options)))
        return 0
    whole, options = options, options.for_grid()
    specs = specs_of(options)
    try:
        if args.only_check:
            if options.stop_stage >= 11:
                check_before_data(whole, specs)
            return 0
        if options.stage <= 10 <= options.stop_stage:
            collect_stats(options, specs)
        if options.stop_stage <= 10:
            return 0
        jobs = jobs_of(options, specs)
        if options.stage == 11:
            collected(options)  # stage 10, which compares the data, does not run
        return status_of(run_unfinished(options, jobs))
    finally:
        close_servers()


if __name__ == "__main__":
    raise SystemExit(main())
