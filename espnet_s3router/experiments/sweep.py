"""Stage 16 of a recipe: pruning methods against sparsity, all from the same dense models.

One dense model per seed is finetuned first, or given by ``--dense_exp``. Then a grid of pruning runs follows, each of which
starts from the dense model of its seed. At the end, tables and plots are made of all finished runs.

    python -m espnet_s3router.experiments.sweep --options FILE
"""

import dataclasses
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.experiments import grid, layout
from espnet_s3router.experiments.grid import assignments_of, base_of, check_model, folder_of, job_of
from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.specification import Spec, expand, home, merge, merged_files, method_of, sparsity_of
from espnet_s3router.experiments.statistics import collect_stats
from espnet_s3router.experiments.upstream_check import check_before_data
from espnet_s3router.experiments.workers.job import Job
from espnet_s3router.experiments.workers.worker import close_servers
from espnet_s3router.files import read_yaml
from espnet_s3router.results.pages.document import corpus_of, count_speakers
from espnet_s3router.results.pages.sweep import DENSE, SweepPage, report, runs_of_sweep
from espnet_s3router.results.rows import Place, ResultRow, read_rows
from espnet_s3router.results.scored_runs import ScoredRun
from espnet_s3router.results.select import Variant, best_on_dev, rates_of_rows
from espnet_s3router.text_files import read_text

PRUNING_ONLY = {("frontend_conf", "mask_conf"), ("frontend_conf", "distill")}
"""Keys of ``--asr_args`` that do not apply to dense models."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sweep:
    """The runs of stage 16."""

    dense: dict[int, Path]
    """Seed to experiment folder of its dense model, in the order of ``--seeds``."""
    dense_specs: list[Spec]
    """The dense models to train here; none with ``--dense_exp``."""
    specs: list[Spec]
    """The pruning runs, seeds outermost."""
    place: Place
    """Recipe, upstream and training set of the results."""

    def part(self, seeds: Collection[int], specs: Iterable[Spec]) -> "Sweep":
        """The part with these pruning runs only; ``seeds``: those of its dense models."""
        dense = {seed: folder for seed, folder in self.dense.items() if seed in seeds}
        dense_specs = [spec for spec in self.dense_specs if spec.config["seed"] in seeds]
        return Sweep(dense, dense_specs, list(specs), self.place)


def sweep_of(options: Options) -> Sweep:
    """The dense models and the pruning runs. Raises InputError before anything runs or is written."""
    methods, assignments = merged_files(options.methods_config), assignments_of(options)
    base = base_of(options, assignments)
    shared: dict[str, Any] = {"prefix": options.experiment_prefix, "seeds": options.seeds}
    if options.dense_exp:
        dense_specs: list[Spec] = []
        dense = given_dense(options, base)
    else:
        dense_specs = _dense_specs(options, methods, shared)
        dense = {spec.config["seed"]: home(spec, options.expdir) for spec in dense_specs}
    shared |= {"starts": {seed: str(folder / options.inference_asr_model) for seed, folder in dense.items()}}
    shared |= {"lrs": options.lrs, "assignments": assignments}
    specs = expand(base, methods, options.prune_methods, sparsities=options.sparsities, **shared)
    if options.control_method:
        control = expand(base, methods, [options.control_method], sparsities=[0.0], **shared)
        names = {spec.name for spec in specs}
        specs += [spec for spec in control if spec.name not in names]
    for spec in specs:
        if not method_of(spec.config).sparse:
            raise InputError(f"--prune_methods: {spec.mask_conf['method']} has no sparsity, expected a method that prunes")
    check_model([*dense_specs, *specs], options)
    place = (options.recipe_name, specs[0].upstream, options.training_set)
    return Sweep(dense, dense_specs, sorted(specs, key=lambda spec: spec.config["seed"]), place)


def _dense_specs(options: Options, methods: dict[str, Any], shared: dict[str, Any]) -> list[Spec]:
    """The dense models to train, one per seed."""
    assignments = [(path, value) for path, value in assignments_of(options) if tuple(path[:2]) not in PRUNING_ONLY]
    base, label = base_of(options, assignments), options.dense_method
    method = merge(base, methods.get(label, {}))["frontend_conf"]["mask_conf"].get("method")
    if label in methods and method != DENSE:
        raise InputError(f"--dense_method is {label!r}, expected a row whose method is {DENSE}")
    specs = expand(base, methods, [label], assignments=assignments, **shared)
    return [dataclasses.replace(spec, label=DENSE) for spec in specs]


def given_dense(options: Options, base: dict[str, Any]) -> dict[int, Path]:
    """The folders of ``--dense_exp``, by seed. Raises InputError for a model that is missing, unfinished, or of another
    upstream or method."""
    folders = {seed: options.dense_folder(seed) for seed in options.seeds}
    for seed, folder in folders.items():
        needed = (layout.TRAIN_CONFIG, layout.RUN_INFO, layout.TRAINED, options.inference_asr_model)
        if missing := [name for name in needed if not (folder / name).exists()]:
            raise InputError(
                f"--dense_exp: the dense model of seed {seed} in {folder} is not there or not finished: no {missing[0]}. "
                "Finish it with stage 11, or leave --dense_exp out to train it here"
            )
        conf = read_yaml(folder / layout.TRAIN_CONFIG)["frontend_conf"]
        if conf["mask_conf"]["method"] != DENSE:
            raise InputError(f"--dense_exp: {folder} was trained by {conf['mask_conf']['method']}, expected {DENSE}")
        if conf["frontend_conf"] != base["frontend_conf"]["frontend_conf"]:
            raise InputError(
                f"--dense_exp: {folder} has the upstream {conf['frontend_conf']}, expected that of the sweep: "
                f"{base['frontend_conf']['frontend_conf']}"
            )
    return folders


def jobs_of(options: Options, sweep: Sweep, committed: Sequence[ResultRow]) -> list[Job]:
    """The dense models, then the runs that start from them, without those whose rows are committed."""
    left = [spec for spec in sweep.specs if not is_committed(spec, options, committed)]
    if len(left) < len(sweep.specs):
        print(f"{len(sweep.specs) - len(left)} of {len(sweep.specs)} pruning runs are in the committed results")
    jobs = []
    for seed, folder in sweep.dense.items():
        needed = any(spec.config["seed"] == seed for spec in left)
        trained_here = [spec for spec in sweep.dense_specs if spec.config["seed"] == seed]
        if not trained_here:
            jobs.append(job_of(options, folder, stage=12))  # it is trained, but may have to be decoded
        elif needed or not is_committed(trained_here[0], options, committed):
            jobs.append(job_of(options, folder, label=DENSE))
    for spec in left:
        dense = sweep.dense[spec.config["seed"]]
        after = dense.name if spec.starts_from(dense) else ""
        jobs.append(job_of(options, folder_of(spec, options), label=spec.label, after=after))
    return jobs


def run(options: Options, sweep: Sweep, committed: Sequence[ResultRow]) -> dict[str, str]:
    """Run what is left of a sweep. Returns the names of the runs that failed, with the reason."""
    for spec in sweep.dense_specs:
        folder_of(spec, options)  # the variant of a pruning run depends on that of its dense model
    if not options.tune_on_first_seed:
        return grid.run_unfinished(options, jobs_of(options, sweep, committed))
    first, *others = sweep.dense
    tuned = sweep.part([first], [spec for spec in sweep.specs if spec.config["seed"] == first])
    failed = grid.run_unfinished(options, jobs_of(options, tuned, committed))
    measured = [row for scored in scored_runs(options, sweep.dense.values(), sweep.place) for row in scored.rows()]
    rows = {row.key: row for row in (*committed, *measured)}
    best = best_of(tuned, [row for row in rows.values() if row.seed == first], options)
    rest = [spec for spec in sweep.specs if spec.config["seed"] in others]
    reason = f"not started, because seed {first}, which chooses the rate, finished none for its method at its sparsity"
    variants = {(variant.method, variant.variant) for variant in best.values()}
    left = [spec for spec in rest if (spec.method, spec.variant) in variants]
    chosen = {_point(spec) for spec in tuned.specs if (spec.method, spec.variant) in variants}
    failed |= {spec.name: reason for spec in rest if _point(spec) not in chosen}
    return failed | grid.run_unfinished(options, jobs_of(options, sweep.part(others, left), committed))


def _point(spec: Spec) -> tuple[str, float | None]:
    """What has one best rate: a method at the sparsity that was asked for, None if bytes were asked for."""
    return spec.method, sparsity_of(spec.mask_conf)


def best_of(sweep: Sweep, rows: Iterable[ResultRow], options: Options) -> dict[tuple[str, float | None], Variant]:
    """The best variant of every method on the validation set, at each sparsity, among the runs of the sweep."""
    variants = {(spec.method, spec.variant) for spec in sweep.specs}
    kept = [row for row in rows if (row.method, row.variant) in variants]
    return best_on_dev(rates_of_rows(kept, [options.valid_set], options.metrics[0]))


def scored_runs(options: Options, dense: Iterable[Path], place: Place) -> list[ScoredRun]:
    """The scored runs of a place and their dense models. ``dense``: folders of dense models to include."""
    dense_folder = options.dense_folder if options.dense_exp else None
    naming: dict[str, Any] = {"prefix": options.experiment_prefix, "inference_tag": options.decoding_tag}
    naming["dense_folder"] = dense_folder
    return runs_of_sweep(options.expdir, place, dense, **naming)


def page_of(options: Options, sweep: Sweep, runs: Iterable[ScoredRun], failed: dict[str, str]) -> SweepPage:
    """The choices behind the page of a sweep."""
    dense, folder = set(sweep.dense.values()), Path(options.results_md).parent
    return SweepPage(
        place=sweep.place,
        methods=list(dict.fromkeys(spec.method for spec in sweep.specs)),
        dev=[options.valid_set],
        test=options.held_out_sets,
        unseen=list(read_text(options.unseen)) if options.unseen else None,
        dense_variants=sorted({run.info["variant"] for run in runs if run.path in dense}),
        row_files=[os.path.relpath(path, folder) for path in options.committed_files],
        failed=failed,
        speakers=count_speakers(options.raw, options.held_out_sets),
        corpus=corpus_of("data", (options.train_set, *options.test_sets)),
    )


def make_page(options: Options, sweep: Sweep, failed: dict[str, str]) -> None:
    """Print the page of the finished runs, and write results.tsv, plots and RESULTS.md."""
    runs = scored_runs(options, sweep.dense.values(), sweep.place)
    page = page_of(options, sweep, runs, failed)
    report(page, runs, expdir=Path(options.expdir), results_md=options.results_md, command=options.command)


def is_committed(spec: Spec, options: Options, rows: Sequence[ResultRow]) -> bool:
    """True if the rows hold the error rates of a run on every test set."""
    place = (options.recipe_name, spec.upstream, options.training_set)
    run_key = (spec.method, spec.variant, spec.config["seed"])
    needed = {(*place, name, *run_key, metric) for name in options.test_sets for metric in options.metrics}
    return needed <= {row.key for row in rows}


@exit_status
def main(argv: Sequence[str] | None = None) -> int:
    """Run the sweep and report on it."""
    options, args = grid.parse_arguments(__doc__, argv)
    whole, options = options, options.for_sweep()
    committed = [row for path in options.committed_files for row in read_rows(path)]
    sweep = sweep_of(options)
    try:
        if args.only_check:
            check_before_data(whole, [*sweep.dense_specs, *sweep.specs])
            return 0
        collect_stats(options, [*sweep.dense_specs, *sweep.specs])
        failed = run(options, sweep, committed)
    finally:
        close_servers()
    make_page(options, sweep, failed)
    return grid.status_of(failed)


if __name__ == "__main__":
    raise SystemExit(main())
