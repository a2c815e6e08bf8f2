"""Where points run: workers on this machine, jobs of SLURM, or workers that were started by hand; always through Dask.

A worker runs one point at a time, as a child process.
"""

import argparse
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_s3router.errors import InputError
from espnet_s3router.experiments.job import GPUS
from espnet_s3router.files import read_yaml

if TYPE_CHECKING:
    from distributed import Client

CONTACT_S = 30  # for a scheduler or SLURM's controller to answer at all


@dataclass(frozen=True)
class Workers:
    """A connection to ``count`` workers, whose points get ``threads`` threads each."""

    client: "Client"
    count: int
    threads: int
    gpus: tuple[str, ...] = ()
    """Of each worker, such as 0,1; empty where they see to it themselves."""
    all_threads: int = 0
    """Of the workers of the whole grid, for a point that all others come after; 0 where they do not share one machine."""
    stay: bool = False
    """Whether they go on after this process."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where and how many at a time."""
    parser.add_argument("--parallel", type=int, default=2, help="points at a time: workers here, jobs of SLURM")
    parser.add_argument("--threads", type=int, default=0, help="of a point; 0: the cores of a worker, shared out")
    parser.add_argument("--cluster", default="local", help="local, slurm, or the address of a Dask scheduler")
    parser.add_argument("--cluster_config", default="", help="YAML: options of dask_jobqueue.SLURMCluster")
    parser.add_argument("--cluster_timeout", type=float, default=3600, help="seconds until the first worker must be there")


def check_options(args: argparse.Namespace) -> None:
    """InputError for options that contradict each other, before anything runs."""
    if args.parallel < 1:
        raise InputError(f"--parallel is {args.parallel}, expected at least 1 point at a time")
    if args.threads < 0:
        raise InputError(f"--threads is {args.threads}, expected a number of threads, or 0 for what there is")
    if args.cluster not in ("local", "slurm") and "://" not in args.cluster:
        raise InputError(f"--cluster is {args.cluster!r}, expected local, slurm or an address such as tcp://host:8786")
    if (args.cluster == "slurm") != bool(args.cluster_config):
        raise InputError(
            f"--cluster is {args.cluster} and --cluster_config is {args.cluster_config or 'empty'}: expected a YAML file "
            "with slurm (egs2/s3router/TEMPLATE/router1/slurm.yaml is an example) and none otherwise"
        )
    if args.cluster == "slurm":
        slurm_options(args.cluster_config)


@contextmanager
def connect(args: argparse.Namespace, jobs: int, of: int = 0) -> Iterator[Workers]:
    """Workers for so many jobs, there until the block ends; it ends what still runs. InputError if none can be had.

    ``of``: how many jobs there are with those that were finished before. Threads go by it, as sums of floats do by threads:
    a grid that was interrupted gives the numbers of one that was not.
    """
    from dask.system import CPU_COUNT
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        count = min(args.parallel, jobs)
        if args.cluster == "local":
            # Left out, the address is port 8787, which another recipe on this machine may have.
            silent = {"dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}
            silent |= {"memory_limit": None, "silence_logs": logging.CRITICAL}
            cluster = stack.enter_context(LocalCluster(n_workers=count, threads_per_worker=1, processes=True, **silent))
            client = stack.enter_context(Client(cluster, set_as_default=False))
            side_by_side = min(args.parallel, max(jobs, of))
            threads = args.threads or max(1, CPU_COUNT // side_by_side)
            yield Workers(client, count, threads, share_gpus(count, args.ngpu), all_threads=threads * side_by_side)
            return
        if args.cluster == "slurm":
            options = slurm_options(args.cluster_config)
            cluster = stack.enter_context(slurm_cluster(options))
            cluster.adapt(minimum_jobs=1, maximum_jobs=count)  # as many as have work; one that reaches its limit is replaced
            client = stack.enter_context(Client(cluster, set_as_default=False))
            threads, stay = args.threads or int(options["cores"]), False
        else:
            client = stack.enter_context(existing(args.cluster))
            threads, stay = args.threads or 1, True
        wait_for_one(client, args)
        yield Workers(client, count, threads, stay=stay)


def share_gpus(workers: int, each: int) -> tuple[str, ...]:
    """Which GPUs of this machine each worker uses, in turn; workers share them where there are too few. InputError where
    there are fewer than one worker needs."""
    if not each:
        return ()
    import torch

    told = os.environ.get(GPUS)
    here = told.split(",") if told else [str(number) for number in range(torch.cuda.device_count())]
    if len(here) < each:
        raise InputError(f"--ngpu is {each}, and there are {len(here)} GPUs here: lower it (0 trains on the CPU)")
    return tuple(",".join(here[(worker * each + n) % len(here)] for n in range(each)) for worker in range(workers))


def slurm_options(path: str | Path) -> dict[str, Any]:
    """Options of ``SLURMCluster`` from a YAML file; InputError for one that it does not have or that is needed here."""
    options = read_yaml(path)
    for key in ("cores", "memory"):
        if key not in options:
            raise InputError(f"{path}: lacks {key!r}, the {key} of one point, for example cores: 4 and memory: 8GB")
    try:
        job_script(options)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}; expected the options of dask_jobqueue.SLURMCluster") from error
    return options


def slurm_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """One worker process a job, one point at a time, however many cores the job has."""
    extra = [*options.get("worker_extra_args", []), "--nthreads", "1"]
    return {"log_directory": "exp/slurm", **options, "processes": 1, "worker_extra_args": extra}


def job_script(options: Mapping[str, Any]) -> str:
    """What SLURM is given for a worker."""
    from dask_jobqueue.slurm import SLURMJob

    return SLURMJob("tcp://scheduler:0", name="worker", **slurm_arguments(options)).job_script()


def slurm_cluster(options: Mapping[str, Any]) -> Any:
    """A ``SLURMCluster`` without workers yet; InputError where SLURM does not answer or would not take its jobs."""
    from dask_jobqueue import SLURMCluster

    if not shutil.which("sbatch"):
        raise InputError("--cluster slurm: there is no sbatch here. Start this on a machine that submits to SLURM")
    try:
        trial = {"input": job_script(options), "capture_output": True, "text": True, "timeout": CONTACT_S, "check": False}
        asked = subprocess.run(["sbatch", "--test-only"], **trial)
        refused = asked.stderr.strip() or "it does not say why" if asked.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        refused = str(error)
    if refused:
        raise InputError(f"--cluster slurm: sbatch refuses the job of a worker: {refused[:300]}. Change --cluster_config")
    anywhere = {"dashboard_address": ":0"}  # others may hold 8787 on a shared machine
    return SLURMCluster(**slurm_arguments(options), scheduler_options=anywhere, silence_logs=logging.CRITICAL)


def existing(address: str) -> "Client":
    """A scheduler that somebody started; InputError where there is none."""
    from distributed import Client

    try:
        return Client(address, timeout=CONTACT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"--cluster {address}: no Dask scheduler answers there: {error}") from error


def wait_for_one(client: "Client", args: argparse.Namespace) -> None:
    """Until the first worker is there; InputError when none comes in time."""
    print(f"waiting for the first worker of {args.cluster}, at most {args.cluster_timeout:g} s", flush=True)
    try:
        client.wait_for_workers(1, timeout=args.cluster_timeout)
    except TimeoutError as error:
        raise InputError(
            f"--cluster {args.cluster}: no worker came up within {args.cluster_timeout:g} s. Look at the queue (squeue) and "
            "at the workers' logs, or wait longer with --cluster_timeout"
        ) from error
