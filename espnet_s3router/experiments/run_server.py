"""A process that imports modules once and forks a child for each job: importing ESPnet takes half a minute.

It reads one request a line from standard input, as JSON, and answers each on standard output with the exit status of the
child. When standard input ends, it kills the running child and stops. When the server is killed, its child stops too.

    python -m espnet_s3router.experiments.run_server MODULE …      modules to import before the first request
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

STDIN, STDOUT, STDERR = 0, 1, 2


def main(modules: Sequence[str]) -> int:
    """Serve until standard input ends. Returns in the server with 0, in each child with the status of its job."""
    replies = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)  # imports print; replies have a channel of their own
    for name in modules:
        importlib.import_module(name)
    gc.freeze()  # else the first collection in a child would copy every page of the imports
    alive, keep_alive = os.pipe()  # its write end closes when the server ends, however it ends
    while request := read_line():
        child = os.fork()
        if child == 0:
            os.close(keep_alive)
            os.close(replies)
            return run_job(json.loads(request), alive)
        os.write(replies, b"%d\n" % wait_for(child))
    return 0


def read_line() -> bytes:
    """The next line of standard input without its end; empty when the input has ended."""
    line = b""
    while byte := os.read(STDIN, 1):
        if byte == b"\n":
            return line
        line += byte
    return b""


def wait_for(child: int) -> int:
    """Exit status of a child; negative: the signal that ended it. Ends with the child when standard input ends."""
    process = os.pidfd_open(child)
    ready, _, _ = select.select([process, STDIN], [], [])
    os.close(process)
    if process not in ready:
        os.killpg(child, signal.SIGKILL)
        sys.exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_job(request: dict[str, Any], alive: int) -> int:
    """Call ``main`` of a module in this process, which leads a session of its own. Returns its exit status."""
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
        return module.main(request["arguments"]) or 0
    except SystemExit as stopped:
        if isinstance(stopped.code, str):
            print(stopped.code, file=sys.stderr)
        return stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    except BaseException:  # the child must not go on as a second server
        traceback.print_exc()
        return 1


def end_with(alive: int) -> None:
    """Kill this process group as soon as the pipe ``alive`` ends, so that no job outlives the worker that runs it."""

    def watch() -> None:
        while os.read(alive, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
