"""Stage 10: lengths of speech and text, from which batches are made; once for all runs on the same data and tokens."""

from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.errors import InputError
from espnet_s3router.experiments import layout
from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.single.provenance import digests_of_data, names_of_data
from espnet_s3router.experiments.single.run import PRELOAD, data_options
from espnet_s3router.experiments.specification import Spec, store
from espnet_s3router.experiments.workers.cluster import threads_of
from espnet_s3router.experiments.workers.job import Job
from espnet_s3router.experiments.workers.worker import run_here
from espnet_s3router.files import locked, write_atomic
from espnet_s3router.text_files import read_tokens


def collect_stats(options: Options, specs: Sequence[Spec]) -> None:
    """Collect the statistics, unless they are there. No model is built."""
    stats = Path(options.stats_dir)
    with locked(stats):  # two grids of a recipe may start at the same time
        if collected(options):
            print(f"{stats}: collected already")
            return
        marker = names_of_data(options) + digests_of_data(options)
        folder = store(Spec(layout.STATS_EXPERIMENT, specs[0].config), options.expdir)
        words = ["--config", str(folder / layout.TRAIN_CONFIG), "--output_dir", str(stats), "--collect_stats", "true"]
        words += ["--ngpu", "0", "--model_conf", "extract_feats_in_collect_stats=false", *data_options(options)]
        for part, name in (("train", options.training_set), ("valid", options.valid_set)):
            words += [f"--{part}_shape_file", f"{options.raw}/{name}/{layout.LENGTHS}"]
        log = stats / layout.COLLECT_LOG
        job = Job("stage 10", f"espnet_s3router.bin.{options.espnet_task}_train", tuple(words), log, log, preload=PRELOAD)
        run_here(job, threads_of(options, len(specs)))
        vocabulary = len(read_tokens(options.token_list))
        for part in ("train", "valid"):
            lines = (stats / part / "text_shape").read_text("utf-8").splitlines()
            shapes = "".join(f"{line},{vocabulary}\n" for line in lines)
            (stats / part / f"text_shape.{options.espnet_token_type}").write_text(shapes, encoding="utf-8")
        write_atomic(stats / layout.COLLECTED, marker)


def collected(options: Options) -> bool:
    """True if the statistics are there. Raises InputError if they belong to other datasets, or if the data changed since."""
    marker = Path(options.stats_dir, layout.COLLECTED)
    if not marker.exists():
        return False
    names, *digests = marker.read_text(encoding="utf-8").splitlines(keepends=True)
    if names != names_of_data(options):
        raise InputError(
            f"{options.stats_dir} holds statistics of {names.strip()}, now it is {names_of_data(options).strip()}: give "
            "another folder with --asr_stats_dir or --expdir"
        )
    now = digests_of_data(options).splitlines(keepends=True)
    if changed := [line.split()[0] for line in now if line not in digests]:
        raise InputError(
            f"{options.raw}: the data of {' and '.join(changed)} changed since the statistics in {options.stats_dir} were "
            f"collected, and training on it would differ from the runs in {options.expdir}. Remove both to begin anew, or "
            "give another --expdir"
        )
    return True
