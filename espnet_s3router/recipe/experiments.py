"""Stages 10 to 13 of a recipe: statistics once, then a grid of points, several at a time, each resumable.

    python -m espnet_s3router.recipe.experiments --asr_config conf/train_asr.yaml --methods_config conf/methods.yaml \
        --methods head_only finetune routing --sparsities 0.04 0.08 --seeds 0 ...
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError
from espnet_s3router.recipe.point import build_parser, data_options, run_module
from espnet_s3router.recipe.pool import Job, mark, run_jobs
from espnet_s3router.recipe.spec import Spec, expand, merge, parse_assignment, read_yaml, set_path, store

POINT_OPTIONS = (
    "stage", "stop_stage", "recipe", "dump", "stats_dir", "train_set", "valid_set", "test_sets", "token_type", "token_list",
    "bpemodel", "inference_config", "inference_args", "inference_tag", "inference_asr_model", "inference_nj",
    "gpu_inference", "ngpu", "num_nodes", "train_cmd", "init_param",
)  # fmt: skip


def specs_of(args: argparse.Namespace) -> list[Spec]:
    """The points that the options ask for; InputError before anything runs."""
    base: dict[str, Any] = {}
    for path in args.asr_config:
        base = merge(base, read_yaml(path))
    assignments = [parse_assignment(text) for text in args.asr_args]
    for key, value in assignments:
        set_path(base, key, value)
    if args.upstream_path and not args.upstream:
        raise InputError(f"--upstream_path is {args.upstream_path}, expected --upstream with it: s3prl's entry")
    if args.upstream:
        source = {"upstream": args.upstream} | ({"path_or_url": args.upstream_path} if args.upstream_path else {})
        base = merge(base, {"frontend_conf": {"frontend_conf": source}})
    if base.get("frontend") != "masked_upstream" or "mask_conf" not in base.get("frontend_conf", {}):
        raise InputError(f"{args.asr_config[0]}: expected frontend: masked_upstream with a mask_conf in frontend_conf")
    methods = read_yaml(args.methods_config) if args.methods_config else {}
    if not args.methods:  # the file itself is the experiment
        label = Path(args.asr_config[0]).stem.removeprefix("train_asr").removeprefix("train_").strip("_")
        methods = {label or base["frontend_conf"]["mask_conf"]["method"]: {}}
    prefix = f"asr_{args.asr_tag}" if args.asr_tag else "asr"
    grid = {"sparsities": args.sparsities, "lrs": args.lrs, "seeds": args.seeds}
    return expand(base, methods, args.methods or list(methods), prefix=prefix, assignments=assignments, **grid)


def collect_stats(args: argparse.Namespace, specs: list[Spec]) -> None:
    """Stage 10: lengths of speech and text, which batches are made by; no model is built for it."""
    stats = Path(args.stats_dir)
    done = stats / ".collected"
    if done.exists():
        print(f"{stats}: collected already")
        return
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
    mark(done)


def jobs_of(args: argparse.Namespace, specs: list[Spec]) -> list[Job]:
    """One job a point; all folders are checked before the first starts."""
    shared: list[str] = []
    for name in POINT_OPTIONS:
        value = getattr(args, name)
        if value is True:
            shared.append(f"--{name}")
        elif isinstance(value, list):
            shared += [f"--{name}={item}" for item in value]  # an item may begin with --
        elif value not in (False, ""):
            shared += [f"--{name}", str(value)]
    jobs = []
    for spec in specs:
        folder = store(spec, args.expdir)
        command = [sys.executable, "-m", "espnet_s3router.recipe.point", "--folder", str(folder), *shared]
        jobs.append(Job(spec.name, command, folder / "run.log", folder / "progress.tsv"))
    return jobs


def finished(folder: Path, args: argparse.Namespace) -> bool:
    """Whether nothing of the asked stages is left to do for a point."""
    trained = args.stage > 11 or (folder / ".trained").exists()
    sets = [folder / args.inference_tag / name for name in args.test_sets]
    decoded = not args.stage <= 12 <= args.stop_stage or all((path / ".decoded").exists() for path in sets)
    scored = args.stop_stage < 13 or all((path / "counts.json").exists() for path in sets)
    return trained and decoded and scored


def grid_parser() -> argparse.ArgumentParser:
    """The options of a point, and what makes a grid of points."""
    parser = build_parser()
    parser.add_argument("--asr_config", nargs="+", required=True, help="YAML files, later ones on top")
    parser.add_argument("--asr_args", nargs="*", action="extend", default=[], help="KEY=VALUE, wins over the files")
    parser.add_argument("--methods_config", default="", help="YAML: method -> its lines")
    parser.add_argument("--methods", nargs="*", default=[])
    parser.add_argument("--sparsities", nargs="*", type=float, default=[])
    parser.add_argument("--lrs", nargs="*", type=float, default=[])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--upstream", default="")
    parser.add_argument("--upstream_path", default="")
    parser.add_argument("--asr_tag", default="")
    parser.add_argument("--expdir", default="exp")
    parser.add_argument("--parallel", type=int, default=2, help="points at a time")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the grid; returns 1 when a point failed (the others are done then)."""
    args = grid_parser().parse_args(argv)
    try:
        specs = specs_of(args)
        if args.stage <= 10 <= args.stop_stage:
            collect_stats(args, specs)
        if args.stop_stage < 11:
            return 0
        jobs = jobs_of(args, specs)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    left = [job for job in jobs if not finished(job.log.parent, args)]
    print(f"{len(jobs)} points, {len(jobs) - len(left)} finished before", flush=True)
    failed = run_jobs(left, args.parallel)
    for job in failed:
        print(f"error: {job.name} failed, see {job.log}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
