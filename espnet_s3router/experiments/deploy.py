"""Stage 17 of a recipe: a route file, or a baked or smaller model, for every finished run of the call, and models in ONNX.

python -m espnet_s3router.experiments.deploy --options FILE
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_s3router.errors import SHOWN, InputError, exit_status
from espnet_s3router.experiments import grid, layout, report, sweep
from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.single.deployment import read_report, read_smaller
from espnet_s3router.experiments.specification import Spec, home
from espnet_s3router.experiments.workers.worker import close_servers
from espnet_s3router.results.scored_runs import best_run, read_run
from espnet_s3router.text_format import scaled


def specs_of(options: Options) -> list[Spec]:
    """The runs of the call: those of its grid and those of its sweep."""
    specs = grid.specs_of(options) if options.has_grid else []
    if options.prune_methods:
        pruning = sweep.sweep_of(options)
        specs += [*pruning.dense_specs, *pruning.specs]
    return list({spec.name: spec for spec in specs}.values())


def split(options: Options, specs: Sequence[Spec]) -> tuple[dict[Path, Spec], dict[Path, Spec]]:
    """Experiment folder -> run, of those that are trained and scored with these options, and of the others."""
    before = dataclasses.replace(options, stage=11, stop_stage=13)
    done, left = dict[Path, Spec](), dict[Path, Spec]()
    for spec in specs:
        folder = home(spec, options.expdir)
        finished = layout.is_trained(folder) and grid.finished(grid.folder_of(spec, options), before)
        (done if finished else left)[folder] = spec
    return done, left


def lines_of(folders: Sequence[Path]) -> list[str]:
    """What stage 17 wrote for each run, in one line each."""
    lines = []
    for folder in folders:
        made = read_report(folder)
        if "route" in made:
            types = " and ".join(made["tensor_types"]) or "no tensors"
            masks = f"{scaled(made['bytes_masks'])}B of masks, {types}"
            lines.append(f"{folder / made['route']}: {scaled(made['bytes'])}B ({masks})")
        elif "no_route" in made:
            lines.append(f"{folder.name}: no route. {made['no_route']}")
        if "baked" in made:
            lines.append(f"{folder / made['baked']}: a baked model")
        elif "not_baked" in made:
            lines.append(f"{folder.name}: not baked. {made['not_baked']}")
        if smaller := read_smaller(folder):
            sizes = f"{scaled(smaller['parameters'])} parameters, {scaled(smaller['macs'])} MACs for a second of audio"
            lines.append(f"{folder / layout.SHRUNK}: a smaller model, {sizes}")
        if "exported" in made:
            files = ", ".join(f"{name} {scaled(size)}B" for name, size in made["bytes_exported"].items())
            missing = f". Not judged on {left} utterances of the set" if (left := made.get("export_left_out")) else ""
            lines.append(f"{folder / made['exported']}: {files}{missing}")
        elif "not_exported" in made:
            lines.append(f"{folder.name}: not exported. {made['not_exported']}")
    return lines


def gather_best(options: Options, runs: Mapping[Path, Spec]) -> Path:
    """Copy the route of the run that is best on the validation set into ``--routes_dir``. Returns the copy."""
    from espnet_s3router.routes import gather

    wanted = options.routes_method
    routes = [folder for folder, spec in runs.items() if "route" in read_report(folder) and wanted in ("", spec.method)]
    scored = [read_run(folder / layout.RUN_INFO, options.decoding_tag) for folder in routes]
    if not scored:
        raise InputError(f"--routes_dir: no finished run{f' of {wanted}' if wanted else ''} has a route")
    best = best_run(scored, [options.valid_set]).path
    (copy,) = gather([best / read_report(best)["route"]], options.routes_dir, options.language)
    print(f"{copy}: the route of {best.name}, the best on {options.valid_set}")
    return copy


def renew_pages(options: Options, left: Mapping[Path, Spec]) -> None:
    """Put the bytes of the files into results.tsv and on the pages. ``left``: runs that are not finished."""
    if options.has_grid:
        report.make_page(options)
    if options.prune_methods:
        started = [folder.name for folder in left if (folder / layout.TRAIN_CONFIG).exists()]
        failed = dict.fromkeys(started, "not trained and scored; its run.log says why")
        sweep.make_page(options.for_sweep(), sweep.sweep_of(options.for_sweep()), failed)


@exit_status
def main(argv: Sequence[str] | None = None) -> int:
    """Write the routes, gather the best one, and say what was written."""
    whole, args = grid.parse_arguments(__doc__, argv)
    options = whole.for_deployment()
    runs, left = split(options, specs_of(options))
    if args.only_check:
        return 0
    if left:
        names = [folder.name for folder in left][:SHOWN] + ["…"] * (len(left) > SHOWN)
        print(f"{len(left)} of {len(runs) + len(left)} runs are not trained and scored here: {', '.join(names)}")
    if not runs:
        raise InputError(f"{options.expdir}: no run of this call is trained and scored; run stages 11 to 13 first, or 16")
    jobs = [grid.job_of(options, folder, label=spec.label) for folder, spec in runs.items()]
    try:
        failed = grid.run_unfinished(options, jobs)
    finally:
        close_servers()
    renew_pages(whole, left)
    written = {folder: spec for folder, spec in runs.items() if folder.name not in failed}
    print("\n" + "\n".join(lines_of(list(written))))
    if options.routes_dir:
        gather_best(options, written)
    return grid.status_of(failed)


if __name__ == "__main__":
    raise SystemExit(main())
