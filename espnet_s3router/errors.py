"""Errors that a user can correct, and the exit statuses of commands."""

import functools
import os
import select
import sys
from collections.abc import Callable, Sequence


class InputError(ValueError):
    """A file, an option or a checkpoint cannot be used. The message says what was expected and how to correct it."""


SHOWN = 10
"""How many problems a message lists."""


def install_extra(extra: str) -> str:
    """The command that adds the libraries of an extra of setup.py to this package, however it was installed."""
    return f"pip install 'espnet-s3router[{extra}]'"


def raise_problems(problems: Sequence[str], where: str, fix: str) -> None:
    """Raise InputError if there are problems. It names ``where``, the first ten problems, their number and the ``fix``."""
    if problems:
        more = [f"… and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        listed = "\n  ".join([*problems[:SHOWN], *more])
        raise InputError(f"{where}: {len(problems)} problem(s)\n  {listed}\n{fix}")


INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells report it."""
NO_READER = 141
"""Exit status when the reader of stdout is gone, as in ``s3router methods | head``."""
STDOUT = 1


def exit_status(command: Callable[[Sequence[str] | None], int | None]) -> Callable[..., int]:
    """Wrap the main function of a command: it then prints a user's errors on stderr and returns an exit status.

    The status is 0 or what ``command`` returns. It is 1 after an InputError or an OSError (a full disk, no permission),
    130 after Ctrl-C, and 141 when the reader of stdout is gone. All other exceptions pass.
    """

    @functools.wraps(command)
    def main(argv: Sequence[str] | None = None) -> int:
        try:
            status = command(argv) or 0
            sys.stdout.flush()  # a missing reader shows here; at exit, Python would print a traceback
            return status
        except (InputError, OSError) as error:
            if isinstance(error, BrokenPipeError) and not _stdout_has_reader():
                return NO_READER
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("error: interrupted; run the same command again to continue", file=sys.stderr)
            return INTERRUPTED

    return main


def _stdout_has_reader() -> bool:
    """True if stdout still has a reader. Otherwise stdout is replaced by /dev/null, so that the flush at exit succeeds."""
    poll = select.poll()
    poll.register(STDOUT, 0)
    if not poll.poll(0):  # a pipe without a reader reports POLLERR
        return True
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    return False


def summary(error: Exception) -> str:
    """The type of an exception from another library, and the beginning of its message."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}{'…' if len(text) > 300 else ''}"
