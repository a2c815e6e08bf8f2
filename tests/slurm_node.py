"""A SLURM of one node on this machine, from Debian's packages, which are unpacked and not installed.

Only root may run it, on Debian or a relative of it; ``Unavailable`` says what is missing.
"""

import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from contextlib import ExitStack, contextmanager

from espnet_s3router.errors import InputError
from local.debian import fetch

DAEMONS = ("slurmd", "slurmctld", "slurm-client", "slurm-wlm-basic-plugins", "munge", "libmunge2")
LIBRARIES = ("libhwloc15", "libnuma1", "libjson-c5", "liblua5.1-0", "libyaml-0-2", "libdbus-1-3")
COMMANDS = ("sbatch", "scancel", "squeue", "sinfo")
LONGEST_S = 30

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={run}/munge.socket
CredType=cred/munge
PluginDir={plugins}
StateSaveLocation={run}/state
SlurmdSpoolDir={run}/spool
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_min_interval=1
KillWait=2
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=speech Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Unavailable(Exception):
    """Why there is no SLURM here."""


@contextmanager
def running(folder):
    """Within the block a SLURM runs; gives the folder of its commands, which find it by themselves."""
    if os.geteuid() != 0:
        raise Unavailable("only root can run its daemons")
    if not shutil.which("apt-get"):
        raise Unavailable("no apt-get to get its packages with")
    try:
        root = fetch([*DAEMONS, *LIBRARIES], folder / "root")
    except InputError as error:
        raise Unavailable(str(error)) from error
    run, library = folder / "run", root / "usr/lib" / f"{os.uname().machine}-linux-gnu"
    for name in ("state", "spool", "munge"):
        (run / name).mkdir(parents=True)
    (run / "munge").chmod(0o700)
    (run / "munge/key").write_bytes(os.urandom(1024))
    (run / "munge/key").chmod(0o600)
    conf = {"host": socket.gethostname().split(".")[0], "run": run, "plugins": library / "slurm-wlm", "cpus": os.cpu_count()}
    conf |= dict(zip(("controller_port", "node_port"), free_ports(2)))
    (run / "slurm.conf").write_text(CONF.format(**conf))
    found = {"LD_LIBRARY_PATH": f"{library}:{library / 'slurm-wlm'}", "SLURM_CONF": str(run / "slurm.conf")}
    own = [f"--{name}={run}/munge/{name}" for name in ("key-file", "pid-file", "log-file", "seed-file")]
    (run / "munge/key").rename(run / "munge/key-file")
    daemons = {
        "munged": ["--foreground", "--force", f"--socket={run}/munge.socket", *own],
        "slurmctld-wlm": ["-D", "-c"],
        "slurmd-wlm": ["-D", "-d", str(root / "usr/sbin/slurmstepd-wlm")],
    }
    bin_dir = folder / "bin"
    bin_dir.mkdir()
    for name in COMMANDS:
        setting = " ".join(f"{key}='{value}'" for key, value in found.items())
        (bin_dir / name).write_text(f'#!/bin/sh\n{setting} exec {root}/usr/bin/{name} "$@"\n')
        (bin_dir / name).chmod(0o755 | stat.S_IXUSR)
    with ExitStack() as stack:
        for name, options in daemons.items():
            log = stack.enter_context((run / f"{name}.log").open("wb"))
            command = [str(root / "usr/sbin" / name), *options]
            stack.callback(stop, subprocess.Popen(command, env=os.environ | found, stdout=log, stderr=log))
            if not comes(lambda: (run / "munge.socket").exists()):
                raise Unavailable(f"its daemons did not start:{logs(run)}")
        if not comes(lambda: "idle" in told(bin_dir / "sinfo", "-h", "-o", "%T")):
            raise Unavailable(f"its node did not come up:{logs(run)}")
        try:
            yield bin_dir
        finally:
            told(bin_dir / "scancel", "--user", "root")
            comes(lambda: not told(bin_dir / "squeue", "-h"))


def free_ports(count):
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def told(*command):
    """What a command prints; nothing when it fails."""
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False).stdout.strip()


def comes(condition):
    """Whether a condition holds before long."""
    limit = time.monotonic() + LONGEST_S
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.2)
    return True


def logs(run):
    """The ends of what the daemons said."""
    return "".join(f"\n{path.name}: {path.read_text(errors='replace')[-400:]}" for path in sorted(run.glob("*.log")))


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
