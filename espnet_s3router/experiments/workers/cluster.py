"""Workers for runs, always through Dask: on this machine, as jobs of SLURM, or those of a scheduler that is there already.

A worker runs one job at a time, in a child process.
"""

import logging
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_s3router.devices import check_gpus, usable_gpus
from espnet_s3router.errors import InputError
from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.workers.worker import close_servers
from espnet_s3router.files import read_yaml

if TYPE_CHECKING:
    from distributed import Client

CONTACT_S = 30
"""Seconds until a scheduler or SLURM's controller must answer."""


@dataclass(frozen=True)
class Workers:
    """A connection to ``count`` workers. Each job gets ``threads`` threads."""

    client: "Client"
    count: int
    threads: int
    gpus: tuple[str, ...] = ()
    """The GPUs of each worker, such as ``0,1``. Empty if the cluster assigns GPUs itself."""
    all_threads: int = 0
    """Threads of all workers together, for a job that all others come after; 0 if the workers are on several machines."""
    stay: bool = False
    """True if the workers outlive this process."""


def check_options(options: Options) -> None:
    """Raises InputError, before anything runs, if this machine lacks the GPUs of a run, or if the configuration of SLURM
    cannot be used."""
    if options.cluster == "local" and options.stage <= 16 and options.stop_stage >= 11:
        check_gpus(options.ngpu)
    if options.cluster == "slurm":
        slurm_options(options.cluster_config)


@contextmanager
def connect(args: Options, jobs: int, of: int = 0) -> Iterator[Workers]:
    """Workers for ``jobs`` jobs, until the block ends. The end of the block ends the jobs that still run.

    ``of``: number of jobs of the grid, finished ones included. It decides the threads of a job: sums of floats depend on the
    number of threads, so a resumed grid must use the same. Raises InputError if no worker can be had.
    """
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        count = min(args.parallel, jobs)
        if args.cluster == "local":
            # The default address is port 8787, which another recipe on this machine may use.
            silent: dict[str, Any] = {"dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}
            silent |= {"memory_limit": None, "silence_logs": logging.CRITICAL}
            cluster = stack.enter_context(LocalCluster(n_workers=count, threads_per_worker=1, processes=False, **silent))
            client = stack.enter_context(Client(cluster, set_as_default=False))
            stack.callback(close_servers)
            threads = threads_of(args, max(jobs, of))
            all_threads = threads * min(args.parallel, max(jobs, of))
            yield Workers(client, count, threads, share_gpus(count, args.ngpu), all_threads=all_threads)
            return
        if args.cluster == "slurm":
            options = slurm_options(args.cluster_config)
            cluster = stack.enter_context(slurm_cluster(options))
            cluster.adapt(minimum_jobs=1, maximum_jobs=count)  # a job that reaches its time limit is replaced
            client = stack.enter_context(Client(cluster, set_as_default=False))
            threads, stay = args.threads or int(options["cores"]), False
        else:
            client = stack.enter_context(existing(args.cluster))
            threads, stay = args.threads or 1, True
        wait_for_one(client, args)
        yield Workers(client, count, threads, stay=stay)


def threads_of(options: Options, runs: int) -> int:
    """Threads of one run in a grid of ``runs`` runs on this machine."""
    from dask.system import CPU_COUNT

    return options.threads or max(1, CPU_COUNT // min(options.parallel, runs))


def share_gpus(workers: int, each: int) -> tuple[str, ...]:
    """The GPUs of this machine that each worker uses. Workers share GPUs if there are too few for all.

    Raises InputError if the machine has fewer than ``each`` GPUs, which one worker needs.
    """
    if not each:
        return ()
    check_gpus(each)
    here = usable_gpus()
    if len(here) < each:
        raise InputError(f"--ngpu is {each}, and there are {len(here)} GPUs here: lower it (0 trains on the CPU)")
    return tuple(",".join(here[(worker * each + n) % len(here)] for n in range(each)) for worker in range(workers))


def slurm_options(path: str | Path) -> dict[str, Any]:
    """Options of ``SLURMCluster`` from a YAML file. Raises InputError for an unknown option or a missing one."""
    options = read_yaml(path)
    for key in ("cores", "memory"):
        if key not in options:
            raise InputError(f"{path}: lacks {key!r}, the {key} of one run, for example cores: 4 and memory: 8GB")
    try:
        job_script(options)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}; expected the options of dask_jobqueue.SLURMCluster") from error
    return options


def slurm_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with one worker process in each SLURM job, which runs one job of the grid at a time."""
    extra = [*options.get("worker_extra_args", []), "--nthreads", "1"]
    return {"log_directory": "exp/slurm", **options, "processes": 1, "worker_extra_args": extra}


def job_script(options: Mapping[str, Any]) -> str:
    """The batch script that SLURM gets for one worker."""
    from dask_jobqueue.slurm import SLURMJob

    return SLURMJob("tcp://scheduler:0", name="worker", **slurm_arguments(options)).job_script()


def slurm_cluster(options: Mapping[str, Any]) -> Any:
    """A ``SLURMCluster`` without workers yet. Raises InputError if SLURM does not answer or refuses its jobs."""
    from dask_jobqueue import SLURMCluster

    if not shutil.which("sbatch"):
        raise InputError("--cluster slurm: there is no sbatch here. Start this on a machine that submits to SLURM")
    try:
        command, script = ["sbatch", "--test-only"], job_script(options)
        answer = subprocess.run(command, input=script, capture_output=True, text=True, timeout=CONTACT_S, check=False)
        refusal = answer.stderr.strip() or "it does not say why" if answer.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        refusal = str(error)
    if refusal:
        raise InputError(f"--cluster slurm: sbatch refuses the job of a worker: {refusal[:300]}. Change --cluster_config")
    any_port = {"dashboard_address": ":0"}  # somebody else may use 8787 on a shared machine
    return SLURMCluster(**slurm_arguments(options), scheduler_options=any_port, silence_logs=logging.CRITICAL)


def existing(address: str) -> "Client":
    """A client of a scheduler that runs already. Raises InputError if none answers."""
    from distributed import Client

    try:
        return Client(address, timeout=CONTACT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"--cluster {address}: no Dask scheduler answers there: {error}") from error


def wait_for_one(client: "Client", args: Options) -> None:
    """Wait for the first worker. Raises InputError if none starts in time."""
    print(f"waiting for the first worker of {args.cluster}, at most {args.cluster_timeout:g} s", flush=True)
    try:
        client.wait_for_workers(1, timeout=args.cluster_timeout)
    except TimeoutError as error:
        raise InputError(
            f"--cluster {args.cluster}: no worker started within {args.cluster_timeout:g} s. Look at the queue (squeue) and "
            "at the logs of the workers, or wait longer with --cluster_timeout"
        ) from error
