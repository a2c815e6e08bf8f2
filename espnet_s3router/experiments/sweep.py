"""Stage 16 of a recipe: pruning methods against sparsity, all from the same dense models.

One dense model a seed is finetuned first (or given by ``--dense_exp``); then a grid of pruning points, each of which starts
from the dense model of its seed; then tables and plots of what is finished.

    python -m espnet_s3router.experiments.sweep --prune_methods routing_prune parp omp --sparsities 0.1 0.5 0.8 …
"""

import argparse
import dataclasses
import os
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.experiments import grid as experiments
from espnet_s3router.experiments.cluster import check_options
from espnet_s3router.experiments.grid import (
    assignments_of,
    base_of,
    check_model,
    folder_of,
    job_of,
    methods_of,
    prefix_of,
)
from espnet_s3router.experiments.job import Job
from espnet_s3router.experiments.specification import Spec, expand, home, merge, method_of
from espnet_s3router.files import own_command, read_yaml
from espnet_s3router.results.pages.document import count_speakers
from espnet_s3router.results.pages.sweep import DENSE, SweepPage, report, runs_of_sweep
from espnet_s3router.results.rows import Place, ResultRow, read_rows
from espnet_s3router.results.scored_runs import ScoredRun
from espnet_s3router.results.select import Variant, best_on_dev, rates_of_rows
from espnet_s3router.text_files import read_text

OF_PRUNING = {("frontend_conf", "mask_conf"), ("frontend_conf", "distill")}  # what --asr_args does not say of dense models


@dataclasses.dataclass(frozen=True, eq=False)
class Sweep:
    """What stage 16 is asked for."""

    dense: dict[int, Path]
    """Seed -> folder of its dense model, in the order of ``--seeds``."""
    dense_specs: list[Spec]
    """The dense models that are trained here; none with ``--dense_exp``."""
    specs: list[Spec]
    """The pruning points, seeds outermost."""
    place: Place
    """What its results are about."""

    def part(self, seeds: Collection[int], specs: Iterable[Spec]) -> "Sweep":
        """With these points only, whose seeds are among ``seeds``."""
        dense = {seed: folder for seed, folder in self.dense.items() if seed in seeds}
        dense_specs = [spec for spec in self.dense_specs if spec.config["seed"] in seeds]
        return Sweep(dense, dense_specs, list(specs), self.place)


def sweep_of(args: argparse.Namespace) -> Sweep:
    """The dense models and the points that the options ask for; InputError before anything runs or is written."""
    if not args.methods or not args.sparsities:
        raise InputError("stage 16: expected --prune_methods and --sparsities, for example --sparsities 0.1 0.5 0.8")
    if args.init_param:
        raise InputError(
            f"stage 16: --pretrained_model is {args.init_param[0]}, and pruning starts from dense models: give --dense_exp, "
            "or train them from it with stage 11 first"
        )
    methods, assignments = methods_of(args), assignments_of(args)
    base = base_of(args, assignments)
    options: dict[str, Any] = {"prefix": prefix_of(args), "seeds": args.seeds}
    if args.dense_exp:
        dense_specs: list[Spec] = []
        dense = given_dense(args, base)
    else:
        ours = [(path, value) for path, value in assignments if tuple(path[:2]) not in OF_PRUNING]
        plain = base_of(args, ours)
        row = merge(plain, methods.get(args.dense_method, {}))["frontend_conf"]["mask_conf"]
        if args.dense_method in methods and row.get("method") != DENSE:
            raise InputError(f"--dense_method is {args.dense_method!r}, expected a row whose method is {DENSE}")
        dense_specs = expand(plain, methods, [args.dense_method], assignments=ours, **options)
        dense_specs = [dataclasses.replace(spec, label=DENSE) for spec in dense_specs]
        dense = {spec.config["seed"]: home(spec, args.expdir) for spec in dense_specs}
    options |= {"starts": {seed: str(folder / args.inference_asr_model) for seed, folder in dense.items()}}
    options |= {"sparsities": args.sparsities, "lrs": args.lrs, "assignments": assignments}
    specs = expand(base, methods, args.methods, **options)
    if args.control_method:
        control = expand(base, methods, [args.control_method], **(options | {"sparsities": [0.0]}))
        names = {spec.name for spec in specs}
        specs += [spec for spec in control if spec.name not in names]
    for spec in specs:
        if not method_of(spec.config).masks:
            raise InputError(f"--prune_methods: {spec.mask_conf['method']} has no sparsity, expected a method that prunes")
    check_model([*dense_specs, *specs], args)
    place = (args.recipe, specs[0].upstream, args.train_set)
    return Sweep(dense, dense_specs, sorted(specs, key=lambda spec: spec.config["seed"]), place)


def given_dense(args: argparse.Namespace, base: dict[str, Any]) -> dict[int, Path]:
    """The folders of ``--dense_exp``; InputError for one that is not there, unfinished, or of another upstream or method."""
    if "{seed}" not in args.dense_exp and len(args.seeds) > 1:
        raise InputError(f"--dense_exp is {args.dense_exp}, expected {{seed}} in it: {len(args.seeds)} seeds are asked for")
    folders = {seed: dense_of(args, seed) for seed in args.seeds}
    for seed, folder in folders.items():
        needed = [folder / name for name in ("train.yaml", "point.json", ".trained", args.inference_asr_model)]
        if missing := [path.name for path in needed if not path.exists()]:
            raise InputError(
                f"--dense_exp: the dense model of seed {seed} in {folder} is not there or not finished: no {missing[0]}. "
                "Finish it with stage 11, or leave --dense_exp out to train it here"
            )
        conf = read_yaml(needed[0])["frontend_conf"]
        if conf["mask_conf"]["method"] != DENSE:
            raise InputError(f"--dense_exp: {folder} was trained by {conf['mask_conf']['method']}, expected {DENSE}")
        if conf["frontend_conf"] != base["frontend_conf"]["frontend_conf"]:
            raise InputError(
                f"--dense_exp: {folder} has the upstream {conf['frontend_conf']}, expected that of the sweep: "
                f"{base['frontend_conf']['frontend_conf']}"
            )
    return folders


def jobs_of(args: argparse.Namespace, sweep: Sweep, committed: Sequence[ResultRow]) -> list[Job]:
    """Dense models first, then the points that start from them, without those whose rows are committed already."""
    left = [spec for spec in sweep.specs if not is_committed(spec, args, committed)]
    if len(left) < len(sweep.specs):
        print(f"{len(sweep.specs) - len(left)} of {len(sweep.specs)} pruning points are in the committed results")
    jobs = []
    for seed, folder in sweep.dense.items():
        needed = any(spec.config["seed"] == seed for spec in left)
        trained_here = [spec for spec in sweep.dense_specs if spec.config["seed"] == seed]
        if needed or not (trained_here and is_committed(trained_here[0], args, committed)):
            jobs.append(job_of(args, folder, label=DENSE) if trained_here else job_of(args, folder, stage=12))
    for spec in left:
        dense = sweep.dense[spec.config["seed"]]
        after = dense.name if spec.begins_from(dense) else ""
        jobs.append(job_of(args, folder_of(spec, args), label=spec.label, after=after))
    return jobs


def run(args: argparse.Namespace, sweep: Sweep, committed: Sequence[ResultRow]) -> dict[str, str]:
    """Run what is left of a sweep; name -> why of the points that failed."""
    for spec in sweep.dense_specs:
        folder_of(spec, args)  # the variant of a point depends on that of its dense model
    if not args.tune_on_first_seed:
        return experiments.run_unfinished(args, jobs_of(args, sweep, committed))
    first, *others = sweep.dense
    tuned = sweep.part([first], [spec for spec in sweep.specs if spec.config["seed"] == first])
    broken = experiments.run_unfinished(args, jobs_of(args, tuned, committed))
    points = scored_runs(args, sweep.dense.values(), sweep.place)
    rows = {row.key: row for row in (*committed, *(row for point in points for row in point.rows()))}
    best = best_of(tuned, [row for row in rows.values() if row.seed == first], args.valid_set)
    rest = [spec for spec in sweep.specs if spec.config["seed"] in others]
    why = f"not started, because no rate of its method at its sparsity was finished with seed {first}, by which it is chosen"
    broken |= {spec.name: why for spec in rest if (spec.method, spec.mask_conf["sparsity"]) not in best}
    variants = {(variant.method, variant.variant) for variant in best.values()}
    left = [spec for spec in rest if (spec.method, spec.variant) in variants]
    return broken | experiments.run_unfinished(args, jobs_of(args, sweep.part(others, left), committed))


def best_of(sweep: Sweep, rows: Iterable[ResultRow], dev: str) -> dict[tuple[str, float | None], Variant]:
    """The points of a sweep that are the best of their method on dev at their sparsity."""
    asked = {(spec.method, spec.variant) for spec in sweep.specs}
    return best_on_dev(rates_of_rows([row for row in rows if (row.method, row.variant) in asked], [dev], "cer"))


def dense_of(args: argparse.Namespace, seed: int) -> Path:
    """The folder that ``--dense_exp`` names for a seed."""
    return Path(args.dense_exp.replace("{seed}", str(seed)))


def scored_runs(args: argparse.Namespace, dense: Iterable[Path], place: Place) -> list[ScoredRun]:
    """The scored runs of ``place`` and their dense models. ``dense``: folders of dense models to include."""
    dense_folder = partial(dense_of, args) if args.dense_exp else None
    options = {"prefix": prefix_of(args), "inference_tag": args.inference_tag, "dense_folder": dense_folder}
    return runs_of_sweep(args.expdir, place, dense, **options)


def page_of(args: argparse.Namespace, sweep: Sweep, runs: Iterable[ScoredRun], failed: dict[str, str]) -> SweepPage:
    """The choices behind the page of a sweep."""
    test = [name for name in args.test_sets if name != args.valid_set] or args.test_sets
    dense = set(sweep.dense.values())
    return SweepPage(
        place=sweep.place,
        methods=list(dict.fromkeys(spec.method for spec in sweep.specs)),
        dev=[args.valid_set],
        test=test,
        unseen=list(read_text(args.unseen)) if args.unseen else None,
        dense_variants=sorted({run.info["variant"] for run in runs if run.path in dense}),
        row_files=[os.path.relpath(path, Path(args.results_md).parent) for path in args.committed],
        failed=failed,
        speakers=count_speakers(args.dump, test),
    )


def is_committed(spec: Spec, args: argparse.Namespace, rows: Sequence[ResultRow]) -> bool:
    """Whether the rows hold both error rates of a point on every test set."""
    about = (args.recipe, spec.upstream, args.train_set)
    point = (spec.method, spec.variant, spec.config["seed"])
    needed = {(*about, name, *point, metric) for name in args.test_sets for metric in ("cer", "wer")}
    return needed <= {row.key for row in rows}


def sweep_parser() -> argparse.ArgumentParser:
    """The options of a grid, and what a sweep adds."""
    parser = experiments.grid_parser("--prune_methods")
    parser.description = __doc__
    parser.add_argument("--dense_method", default=DENSE, help="row of the methods file that trains the dense models")
    parser.add_argument(
        "--control_method",
        default="",
        help="row of the methods file that runs at sparsity 0: what the updates of the others do by themselves",
    )
    parser.add_argument(
        "--tune_on_first_seed",
        action="store_true",
        help="the other seeds at the best of --lrs on dev with the first, each sparsity",
    )
    parser.add_argument("--dense_exp", default="", help="folder of the dense model, {seed} in it, instead of training it")
    parser.add_argument("--committed", nargs="*", default=[], help="results files whose points count as finished")
    parser.add_argument("--results_md", default="", help="RESULTS.md to write")
    parser.add_argument("--unseen", default="", help="file of test utterances whose text does not occur in training")
    parser.add_argument("--command", default=own_command("experiments.sweep"), help="what RESULTS.md names as the command")
    return parser


@exit_status
def main(argv: Sequence[str] | None = None) -> int:
    """Run the sweep and report on it."""
    args = sweep_parser().parse_args(argv)
    args.stage, args.stop_stage = 11, 13
    check_options(args)
    committed = [row for path in args.committed for row in read_rows(path)]
    sweep = sweep_of(args)
    if args.only_check:
        return 0
    experiments.collect_stats(args, [*sweep.dense_specs, *sweep.specs])
    broken = run(args, sweep, committed)
    runs = scored_runs(args, sweep.dense.values(), sweep.place)
    page = page_of(args, sweep, runs, broken)
    report(page, runs, expdir=Path(args.expdir), results_md=args.results_md, command=args.command)
    return experiments.status_of(broken)


if __name__ == "__main__":
    raise SystemExit(main())
