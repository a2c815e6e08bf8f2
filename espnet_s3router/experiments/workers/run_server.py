"""A process that imports modules once and forks a child for each job: importing ESPnet takes half a minute.

It reads requests from standard input and answers on standard output, both as one JSON object a line. An answer holds the
number of its request and the exit status of the child. When standard input ends, the server kills its children and stops.
When the server is killed, its children stop too.

    python -m espnet_s3router.experiments.workers.run_server MODULE …      modules to import before the first request
"""

import gc
import importlib
import json
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any

from espnet_s3router.errors import exit_status

STDIN, STDOUT, STDERR = 0, 1, 2


def main(modules: Sequence[str]) -> int:
    """Serve until standard input ends. Returns 0 in the server, and in each child the status of its job."""
    replies = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)  # imports print; replies have a channel of their own
    for name in modules:
        importlib.import_module(name)
    gc.freeze()  # otherwise the first garbage collection of a child would copy every page of the imports
    alive, keep_alive = os.pipe()  # its write end closes when the server ends, however it ends
    children: dict[int, tuple[int, int]] = {}  # pidfd -> (process id, number of the request)
    while True:
        ready, _, _ = select.select([STDIN, *children], [], [])
        for pidfd in set(ready) - {STDIN}:
            process, number = children.pop(pidfd)
            os.close(pidfd)
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            os.write(replies, json.dumps({"number": number, "code": code}).encode() + b"\n")
        if STDIN in ready:
            line = read_line()
            if not line:
                break
            request = json.loads(line)
            process = os.fork()
            if process == 0:
                for inherited in (keep_alive, replies, *children):
                    os.close(inherited)
                return run_job(request, alive)
            children[os.pidfd_open(process)] = (process, request["number"])
    for process, _ in children.values():
        os.killpg(process, signal.SIGKILL)
    return 0


def read_line() -> bytes:
    """The next line of standard input without its end. Empty when the input has ended."""
    line = b""
    while byte := os.read(STDIN, 1):
        if byte == b"\n":
            return line
        line += byte
    return b""


def run_job(request: dict[str, Any], alive: int) -> int:
    """Call ``main`` of a module in this process, which leads a session of its own. Returns the exit status."""
    os.setsid()
    end_with(alive)
    os.dup2(os.open(os.devnull, os.O_RDONLY), STDIN)
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(log, STDOUT)
    os.dup2(log, STDERR)
    os.chdir(request["folder"])
    try:
        module = importlib.import_module(request["module"])
        sys.argv = [str(module.__file__), *request["arguments"]]
        return exit_status(module.main)(request["arguments"])
    except SystemExit as stopped:
        if isinstance(stopped.code, str):
            print(stopped.code, file=sys.stderr)
        return stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    except BaseException:  # the child must not go on as a second server
        traceback.print_exc()
        return 1


def end_with(alive: int) -> None:
    """Kill this process group as soon as the pipe ``alive`` ends, so that no job outlives its server."""

    def watch() -> None:
        while os.read(alive, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
