"""Upstreams are loaded once at the start of a call: what is wrong with one is said before hours of work, and by one process
instead of every run."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError
from espnet_s3router.experiments import layout
from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.single.run import PRELOAD
from espnet_s3router.experiments.specification import Spec, home
from espnet_s3router.experiments.workers.cluster import threads_of
from espnet_s3router.experiments.workers.job import Job, error_message, explain
from espnet_s3router.experiments.workers.worker import close_servers, run_job
from espnet_s3router.files import read_yaml

OF_RUNS = ("mask_conf", "distill", "autocast")
"""Keys of ``frontend_conf`` that do not decide whether an upstream can be loaded here."""


def check_before_data(options: Options, specs: Iterable[Spec]) -> None:
    """Raises InputError if the upstream that ``--upstream`` names cannot be loaded.

    Those of configurations are loaded before training: this takes half a minute, and they seldom change. Left out are runs
    that are trained, and what stage 1 fetches.
    """
    if not options.upstream:
        return
    untrained = [spec for spec in specs if not layout.is_trained(home(spec, options.expdir))]
    check_upstreams(options, [spec.config for spec in untrained if not _fetched_later(options, spec)], len(untrained))


def _fetched_later(options: Options, spec: Spec) -> bool:
    path = spec.config["frontend_conf"]["frontend_conf"].get("path_or_url")
    return bool(options.local_upstream and path and not Path(path).exists())


def check_before_training(options: Options, folders: Iterable[Path], runs: int) -> None:
    """Raises InputError if an upstream of the runs in experiment folders cannot be loaded. ``runs``: number of runs of the
    grid, see ``threads_of``."""
    untrained = [folder for folder in folders if not layout.is_trained(folder)]
    check_upstreams(options, [read_yaml(folder / layout.TRAIN_CONFIG) for folder in untrained], runs)


def check_upstreams(options: Options, configs: Iterable[Mapping[str, Any]], runs: int) -> None:
    """Load each upstream of the configurations once, in a run server, which also serves the runs on this machine."""
    sources = [{key: v for key, v in config["frontend_conf"].items() if key not in OF_RUNS} for config in configs]
    confs = tuple(dict.fromkeys(json.dumps(source, sort_keys=True) for source in sources))
    if not confs:
        return
    with tempfile.TemporaryDirectory(prefix="s3router_upstream_") as folder:
        log = Path(folder, "log")
        job = Job("upstream", "espnet_s3router.bin.check_upstream", confs, log, log, preload=PRELOAD)
        outcome = run_job(job, Path.cwd(), threads_of(options, max(runs, 1)))
        if outcome.code:
            raise InputError(error_message(log) or f"the upstream cannot be loaded: {explain(outcome, log)}")
    if options.cluster != "local":
        close_servers()  # the runs have servers of their own
