"""A job: one call of a module's ``main`` with a log of its own, and the reason when it fails."""

import signal
from dataclasses import dataclass
from pathlib import Path

OUT_OF_MEMORY = ("out of memory", "MemoryError", "can't allocate memory", "Cannot allocate memory")
SHOWN = 200
"""Characters of a reason that are printed."""


@dataclass(frozen=True)
class Job:
    """Calls ``module.main(arguments)``; standard output and standard error go to ``log``."""

    name: str
    module: str
    """Importable name, such as ``espnet_s3router.experiments.single.run``."""
    arguments: tuple[str, ...]
    log: Path
    progress: Path
    """The ``progress.tsv`` of the run."""
    after: str = ""
    """Name of the job that must be done first."""
    leads: bool = False
    """True if all other jobs of the grid come after this one, so that nothing can run beside it."""
    preload: tuple[str, ...] = ()
    """Modules that the worker imports once for all its jobs."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    code: int
    """Exit status; negative: the number of the signal that ended it."""
    seconds: float
    log_start: int = 0
    """Position in the log, in bytes, where the output of this job begins: a resumed run appends to its log."""


def explain(outcome: Outcome, log: Path) -> str:
    """Why a job failed, in one line: its last error message, or the meaning of its exit status."""
    code, lines = outcome.code, tail(log, 40, outcome.log_start)
    if code == -signal.SIGKILL:
        return "killed, probably out of memory"
    if memory := [line for line in lines if any(words in line for words in OUT_OF_MEMORY)]:
        return f"out of memory: {memory[-1]}"[:SHOWN]
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    messages = [line for line in lines if line.lower().startswith("error:")] or lines or ["it printed nothing"]
    return f"exit code {code}: {messages[-1]}"[:SHOWN]


def error_message(log: Path) -> str:
    """The last message of an error of this package in a log, all its lines; empty if there is none."""
    text = "\n" + (log.read_text(encoding="utf-8", errors="replace") if log.exists() else "")
    return text.rpartition("\nerror: ")[2].strip() if "\nerror: " in text else ""


def tail(log: Path, count: int, start: int = 0) -> list[str]:
    """The last ``count`` lines of a log that are not blank, from byte ``start`` on."""
    text = log.read_bytes()[start:].decode("utf-8", errors="replace") if log.exists() else ""
    return [line.strip() for line in text.splitlines() if line.strip()][-count:]
