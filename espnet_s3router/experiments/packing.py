"""Stages 14 and 15 of a recipe: the best run of the call as a pack, and the pack on the Hugging Face hub.

python -m espnet_s3router.experiments.packing --options FILE
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.experiments import grid, layout
from espnet_s3router.experiments.deploy import specs_of, split
from espnet_s3router.experiments.options import UPLOAD, Options
from espnet_s3router.experiments.single import deployment
from espnet_s3router.results.scored_runs import ScoredRun, System, best_run, read_run
from espnet_s3router.text_format import scaled

WHOLE = ("baked", "experiment")
"""Kinds of packs that hold a whole model."""
PLOTS = "*_against_*.png"
"""Files below expdir that stages 13 and 16 draw. They go onto the card."""
CHECKED = 2
"""Recordings of the validation set that a pack must transcribe."""


def chosen_run(options: Options) -> ScoredRun:
    """The run of the call that is best on the validation set. Raises InputError if none is trained and scored."""
    runs, _ = split(options, specs_of(options))
    wanted = options.routes_method
    scored = [
        read_run(folder / layout.RUN_INFO, options.decoding_tag)
        for folder, spec in runs.items()
        if wanted in ("", spec.method)
    ]
    if not scored:
        raise InputError(f"{options.expdir}: no run of this call is trained and scored; run stages 11 to 13 first, or 16")
    return best_run(scored, [options.valid_set])


def facts_of(run: ScoredRun, options: Options) -> dict[str, Any]:
    """What the card says about a run: its data, its command, and error rates with 95 % bootstrap intervals."""
    facts = deployment.metadata(run.path, options)
    facts["metrics"], facts["intervals"] = {}, {}
    for dataset in options.test_sets:
        for metric in run.counts.get(dataset, {}):
            interval = System((run,)).interval([dataset], metric)
            assert interval is not None  # of a scored dataset
            facts["metrics"][f"{dataset}_{metric}"] = round(100 * interval.value, 2)
            facts["intervals"][f"{dataset}_{metric}"] = [round(100 * bound, 2) for bound in (interval.low, interval.high)]
    return facts


def pack(options: Options) -> Path:
    """Write the pack of the best run, or of all routes in ``--routes_dir``, and return it. It was opened again by then."""
    from espnet_s3router.bin.recordings import read_waves
    from espnet_s3router.routes import gather
    from espnet_s3router.zoo.experiment import pack_model
    from espnet_s3router.zoo.routes import pack_routes

    run = chosen_run(options)
    out = Path(options.pack_file or Path(options.expdir, "packs", f"{run.path.name}.zip"))
    waves = read_waves(str(Path(options.test_data(options.valid_set), layout.AUDIO)), CHECKED)
    facts = facts_of(run, options)
    shown: Any = {"waves": waves, "base_licence": options.base_licence, "plots": sorted(Path(options.expdir).glob(PLOTS))}
    routes = [run.path / name for name in [_route(run, options)] if name]
    if routes and options.pack_kind not in WHOLE:
        by_route = {routes[0].stem: facts}
        if options.routes_dir:
            gather(routes, options.routes_dir, options.language)
            routes = sorted(Path(options.routes_dir).glob("*.route"))
        packed = pack_routes(routes, out, base=options.pack_base, licence=options.licence, given=by_route, **shown)
    else:
        files = (run.path / layout.ESPNET_CONFIG, run.path / options.inference_asr_model)
        kind = options.pack_kind if options.pack_kind in WHOLE else ""
        shown |= {"task": options.espnet_task, "facts": facts, "decoding": deployment.decoding(options)}
        packed = pack_model(*files, out, kind=kind, **shown)
    print(f"{run.path.name}: the best run on {options.valid_set}")
    for name, texts in packed.texts.items():
        print("".join(f"  {name}: {text}\n" for text in texts), end="")
    print(f"{packed.path}: {scaled(packed.bytes)}B, {packed.kind}; opened again, and its outputs are those before")
    return packed.path


def _route(run: ScoredRun, options: Options) -> str:
    """The file name of the run's route, which stage 17 writes if it is not there; empty for a method without one."""
    if options.pack_kind in WHOLE:
        return ""
    deployment.deploy(run.path, options.for_deployment())
    report = deployment.read_report(run.path)
    if "route" not in report and options.pack_kind == "routes":
        raise InputError(f"--pack_kind routes: {report['no_route']}")
    return report.get("route", "")


def upload(options: Options, path: Path) -> None:
    """Upload the pack and print its address, or the files that would go."""
    from espnet_s3router.zoo.upload import upload

    done = upload(path, options.hf_repo, update=options.hf_update, dry_run=options.hf_dry_run)
    if done.url:
        print(f"{path}: uploaded as {done.repo}, {done.url}")
    else:
        print(f"{path} would go to {done.repo}: {json.dumps(done.files)}; nothing was sent")


@exit_status
def main(argv: Sequence[str] | None = None) -> int:
    """Pack, and upload if stage 15 runs."""
    options, args = grid.parse_arguments(__doc__, argv)
    if args.only_check:
        return 0
    file = Path(options.pack_file)
    ready = options.stage == UPLOAD and options.pack_file and file.exists()
    path = file if ready else pack(options)
    if options.stop_stage == UPLOAD:
        upload(options, path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
