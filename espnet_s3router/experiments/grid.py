"""Stages 10 to 13 of a recipe: statistics once, then a grid of points, several at a time, each resumable.

    python -m espnet_s3router.experiments.grid --asr_config conf/train_asr.yaml --methods_config conf/methods.yaml \
        --methods head_only finetune routing --sparsities 0.04 0.08 --seeds 0 ...
"""

import argparse
import dataclasses
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_s3router.data.tokens import read_tokens
from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.experiments.cluster import add_options, check_options, connect
from espnet_s3router.experiments.datasets import digests_of_data, names_of_data
from espnet_s3router.experiments.decoding import is_decoded
from espnet_s3router.experiments.job import Job
from espnet_s3router.experiments.pool import run_jobs
from espnet_s3router.experiments.provenance import changed_origin
from espnet_s3router.experiments.run import build_parser, data_options, is_scored, run_module
from espnet_s3router.experiments.specification import (
    Assignment,
    Spec,
    expand,
    is_begun,
    merge,
    parse_assignment,
    set_path,
    store,
)
from espnet_s3router.files import locked, read_yaml, write_atomic
from espnet_s3router.results.rows import Place

PRELOAD = (
    "espnet_s3router.experiments.run",
    "espnet_s3router.plugin.training.task",
    "espnet_s3router.plugin.best_path",
    "s3prl.nn",
)
"""What every run imports."""
COLLECTED = ".collected"  # holds what statistics are of
POINT_OPTIONS = (
    "stage", "stop_stage", "recipe", "dump", "stats_dir", "train_set", "valid_set", "test_sets", "token_type", "token_list",
    "bpemodel", "nlsyms_txt", "inference_config", "inference_args", "inference_tag", "inference_asr_model", "inference_nj",
    "gpu_inference", "ngpu", "num_nodes", "train_cmd", "init_param",
)  # fmt: skip
OF_CRITERION = re.compile(r"((?:train|valid)\..+)\.(?:best|ave(?:_\d+best)?)\.pth")
"""The models that ESPnet names by a criterion."""
ESPNETS_CRITERIA = [("train", "loss"), ("valid", "loss"), ("train", "acc"), ("valid", "acc")]
"""By which ESPnet keeps models where the configuration says nothing."""


def assignments_of(args: argparse.Namespace) -> list[Assignment]:
    """What ``--asr_args`` sets."""
    return [parse_assignment(text) for text in args.asr_args]


def base_of(args: argparse.Namespace, assignments: Iterable[Assignment]) -> dict[str, Any]:
    """The configuration that all methods share: the files, and on top of them what was assigned."""
    base: dict[str, Any] = {}
    for path in args.asr_config:
        base = merge(base, read_yaml(path))
    for key, value in assignments:
        set_path(base, key, value)
    if args.upstream_path and not args.upstream:
        raise InputError(f"--upstream_path is {args.upstream_path}, expected --upstream with it: s3prl's entry")
    if args.upstream:  # the path of the upstream in the files is not this one's
        source = {"upstream": args.upstream, "path_or_url": args.upstream_path or None}
        base = merge(base, {"frontend_conf": {"frontend_conf": source}})
    if base.get("frontend") != "masked_upstream" or "mask_conf" not in base.get("frontend_conf", {}):
        raise InputError(f"{args.asr_config[0]}: expected frontend: masked_upstream with a mask_conf in frontend_conf")
    return base | identity_of(args)


def identity_of(args: argparse.Namespace) -> dict[str, Any]:
    """Tokens and start weights, which are part of a point's configuration. Nothing for characters: points of before have no
    such key, and results are kept by the hash of the configuration."""
    for given in args.init_param:
        path = given.partition(":")[0]  # ESPnet's form is FILE:from:to:without
        if not Path(path).is_file():
            raise InputError(f"--pretrained_model is {given}, and there is no file {path}. Expected a model file (.pth)")
    made: dict[str, Any] = {}
    if args.token_type != "char":
        made |= {"token_type": args.token_type, "bpemodel": args.bpemodel or None}
    return made | ({"init_param": list(args.init_param)} if args.init_param else {})


def places_of(args: argparse.Namespace) -> set[Place]:
    """What the results of a grid are about: one place, unless methods have upstreams of their own."""
    base, methods = base_of(args, assignments_of(args)), methods_of(args)
    rows = [methods.get(name, {}) for name in args.methods] or [{}]
    return {(args.recipe, Spec("", merge(base, row)).upstream, args.train_set) for row in rows}


def methods_of(args: argparse.Namespace) -> dict[str, Any]:
    """The rows of the methods files, later ones on top."""
    methods: dict[str, Any] = {}
    for path in args.methods_config:
        methods = merge(methods, read_yaml(path))
    return methods


def prefix_of(args: argparse.Namespace) -> str:
    """How the folders of points begin."""
    return f"asr_{args.asr_tag}" if args.asr_tag else "asr"


def specs_of(args: argparse.Namespace) -> list[Spec]:
    """The points that the options ask for; InputError before anything runs."""
    base, methods = base_of(args, assignments_of(args)), methods_of(args)
    if not args.methods:  # the file itself is the experiment
        label = Path(args.asr_config[0]).stem.removeprefix("train_asr").removeprefix("train_").strip("_")
        methods = {label or base["frontend_conf"]["mask_conf"]["method"]: {}}
    grid = {"sparsities": args.sparsities, "lrs": args.lrs, "seeds": args.seeds}
    grid |= {"prefix": prefix_of(args), "assignments": assignments_of(args)}
    specs = expand(base, methods, args.methods or list(methods), **grid)
    check_model(specs, args)
    return specs if args.methods else [dataclasses.replace(spec, label="") for spec in specs]


def check_model(specs: Iterable[Spec], args: argparse.Namespace) -> None:
    """InputError, before anything is trained, for a model to decode with that training will not leave."""
    asked = OF_CRITERION.fullmatch(args.inference_asr_model)
    if not asked or args.stage > 11 or args.stop_stage < 12:
        return
    for spec in specs:
        criteria = spec.config.get("best_model_criterion", ESPNETS_CRITERIA)
        kept = [f"{phase}.{key}" for phase, key, *_ in criteria]
        if asked[1] not in kept:
            raise InputError(
                f"--inference_asr_model is {args.inference_asr_model}, and best_model_criterion of {spec.name} keeps models "
                f"by {', '.join(kept)}. Choose one of these, such as {kept[0]}.ave.pth, or add the other one to it"
            )


def collect_stats(args: argparse.Namespace, specs: list[Spec]) -> None:
    """Stage 10: lengths of speech and text, which batches are made by; no model is built for it."""
    with locked(Path(args.stats_dir)):  # two grids of a recipe may begin at a time
        if collected(args):
            print(f"{args.stats_dir}: collected already")
        else:
            _collect(args, specs)


def _collect(args: argparse.Namespace, specs: list[Spec]) -> None:
    stats = Path(args.stats_dir)
    about = names_of_data(args) + digests_of_data(args)
    folder = store(Spec(".stats", specs[0].config), args.expdir)
    options = ["--config", str(folder / "train.yaml"), "--output_dir", str(stats), "--collect_stats", "true"]
    options += ["--ngpu", "0", "--model_conf", "extract_feats_in_collect_stats=false", *data_options(args)]
    for part, name in (("train", args.train_set), ("valid", args.valid_set)):
        options += [f"--{part}_shape_file", f"{args.dump}/{name}/utt2num_samples"]
    run_module("espnet_s3router.bin.asr_train", options, log=stats / "collect.log")
    vocabulary = len(Path(args.token_list).read_text("utf-8").splitlines())
    for part in ("train", "valid"):
        lines = (stats / part / "text_shape").read_text("utf-8").splitlines()
        shapes = "".join(f"{line},{vocabulary}\n" for line in lines)
        (stats / part / f"text_shape.{args.token_type}").write_text(shapes, encoding="utf-8")
    write_atomic(stats / COLLECTED, about)


def collected(args: argparse.Namespace) -> bool:
    """Whether statistics are there; InputError if they are of other sets, or of what these held before."""
    done = Path(args.stats_dir) / COLLECTED
    if not done.exists():
        return False
    names, *digests = done.read_text(encoding="utf-8").splitlines(keepends=True)
    if names != names_of_data(args):
        raise InputError(
            f"{args.stats_dir} holds statistics of {names.strip()}, now it is {names_of_data(args).strip()}: give another "
            "folder with --asr_stats_dir or --expdir"
        )
    now = digests_of_data(args).splitlines(keepends=True)
    if changed := [line.split()[0] for line in now if line not in digests]:
        raise InputError(
            f"{args.dump}: the data of {' and '.join(changed)} changed since the statistics in {args.stats_dir} were "
            f"collected, and training on it would differ from what is in {args.expdir}. Remove both to begin anew, or give "
            "another --expdir"
        )
    return True


def job_of(args: argparse.Namespace, folder: Path, *, label: str = "", after: str = "", **changes: Any) -> Job:
    """The job of the point in a folder; ``label``: see ``Spec``; ``changes`` of the options that are handed on to it."""
    options: list[str] = []
    for name in POINT_OPTIONS:
        value = changes.get(name, getattr(args, name))
        if value is True:
            options.append(f"--{name}")
        elif isinstance(value, list):
            options += [f"--{name}={item}" for item in value]  # an item may begin with --
        elif value not in (False, ""):
            options += [f"--{name}", str(value)]
    arguments = (*options, "--folder", str(folder), "--label", label)
    log, progress = folder / "run.log", folder / "progress.tsv"
    return Job(folder.name, "espnet_s3router.experiments.run", arguments, log, progress, after, preload=PRELOAD)


def jobs_of(args: argparse.Namespace, specs: list[Spec]) -> list[Job]:
    """One job a point; all folders are checked before the first starts."""
    return [job_of(args, folder_of(spec, args), label=spec.label) for spec in specs]


def folder_of(spec: Spec, args: argparse.Namespace) -> Path:
    """The folder of a point with its configuration in it; InputError if what lies there is another configuration, or was
    trained on other data."""
    folder = store(spec, args.expdir)
    if (folder / "config.yaml").exists() and is_begun(folder):
        told = read_yaml(folder / "config.yaml")
        for part, wanted in (("train", args.train_set), ("valid", args.valid_set)):
            found = {Path(path).parent.name for path, *_ in told[f"{part}_data_path_and_name_and_type"]}
            if found != {wanted}:
                raise InputError(
                    f"{folder} was trained with --{part}_set {' '.join(sorted(found))}, now it is {wanted}. Remove the "
                    "folder to train anew, or keep both with --asr_tag or --expdir"
                )
        before, now = told.get("token_list"), read_tokens(args.token_list)
        if isinstance(before, list) and before != now:
            raise InputError(
                f"{folder} was trained with other tokens ({len(before)}) than {args.token_list} holds ({len(now)}), or in "
                "another order. Remove the folder to train anew, or keep both with --asr_tag or --expdir"
            )
    return folder


def run_unfinished(args: argparse.Namespace, jobs: list[Job]) -> dict[str, str]:
    """Run the jobs with something left to do; name -> why of those that failed. InputError if there are no workers."""
    jobs = [dataclasses.replace(job, leads=leads(job, jobs)) for job in jobs]
    left = [job for job in jobs if not finished(job.log.parent, args)]
    print(f"{len(jobs) - len(left)} of {len(jobs)} points finished before", flush=True)
    if not left:
        return {}
    with connect(args, len(left), len(jobs)) as workers:
        return run_jobs(left, workers)


def leads(job: Job, jobs: Sequence[Job]) -> bool:
    """Whether all other jobs come after this one."""
    return all(other.after == job.name for other in jobs if other is not job)


def finished(folder: Path, args: argparse.Namespace) -> bool:
    """Whether nothing of the asked stages is left to do for a point."""
    trained = args.stage > 11 or ((folder / ".trained").exists() and not changed_origin(folder))
    sets = [folder / args.inference_tag / name for name in args.test_sets]
    if args.stop_stage < 12:
        return trained
    done = is_decoded if args.stop_stage == 12 else is_scored  # which asks whether it is decoded too
    return trained and all(done(path, args) for path in sets)


def grid_parser(methods: str = "--methods") -> argparse.ArgumentParser:
    """The options of a point, and what makes a grid of points; ``methods``: how the option that lists methods is called."""
    parser = build_parser()
    parser.add_argument("--asr_config", nargs="+", required=True, help="YAML files, later ones on top")
    parser.add_argument("--asr_args", nargs="*", action="extend", default=[], help="KEY=VALUE, wins over the files")
    parser.add_argument("--methods_config", nargs="*", default=[], help="YAML files: method -> its lines, later ones on top")
    parser.add_argument(methods, dest="methods", nargs="*", default=[])
    parser.add_argument("--sparsities", nargs="*", type=float, default=[])
    parser.add_argument("--lrs", nargs="*", type=float, default=[])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--upstream", default="")
    parser.add_argument("--upstream_path", default="")
    parser.add_argument("--asr_tag", default="")
    parser.add_argument("--expdir", default="exp")
    parser.add_argument("--only_check", action="store_true", help="say what is wrong with the options, and run nothing")
    add_options(parser)
    return parser


def status_of(broken: Mapping[str, str]) -> int:
    """Name the points that failed; the exit status of a grid: 1 when there are any (the others are done then)."""
    for name, reason in broken.items():
        print(f"error: {name} failed: {reason}", file=sys.stderr)
    return 1 if broken else 0


@exit_status
def main(argv: Sequence[str] | None = None) -> int:
    """Run the grid."""
    args = grid_parser().parse_args(argv)
    check_options(args)
    specs = specs_of(args)
    if args.only_check:
        return 0
    if args.stage <= 10 <= args.stop_stage:
        collect_stats(args, specs)
    if args.stop_stage <= 10:
        return 0
    jobs = jobs_of(args, specs)
    if args.stage == 11:
        collected(args)  # or stage 11 by itself would train on what changed since
    return status_of(run_unfinished(args, jobs))


if __name__ == "__main__":
    raise SystemExit(main())
