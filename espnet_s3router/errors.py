"""Errors that are the user's to mend: what was got, what was expected, how to fix it."""

import functools
import os
import select
import sys
from collections.abc import Callable, Sequence


class InputError(ValueError):
    """Something given from outside (a file, an option, a checkpoint) cannot be used as it is."""


SHOWN = 10


def raise_problems(problems: Sequence[str], where: str, fix: str) -> None:
    """Raise InputError if there are problems. It names ``where``, the first ten problems, their number and the ``fix``."""
    if problems:
        more = [f"… and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        listed = "\n  ".join([*problems[:SHOWN], *more])
        raise InputError(f"{where}: {len(problems)} problem(s)\n  {listed}\n{fix}")


INTERRUPTED = 130  # what a shell says of a command that Ctrl-C ended
NO_READER = 141  # and of one whose reader went away, as in `s3router methods | head`
STDOUT = 1


def exit_status(command: Callable[[Sequence[str] | None], int | None]) -> Callable[..., int]:
    """``main`` of a command that ends as a command should: with the status it returns or 0; 1 with the message on stderr
    after an InputError or an OSError (a full disk, no permission); 130 after Ctrl-C, 141 when nobody reads stdout on."""

    @functools.wraps(command)
    def main(argv: Sequence[str] | None = None) -> int:
        try:
            status = command(argv) or 0
            sys.stdout.flush()  # a reader that is gone shows here, or else at the very end and with a traceback
            return status
        except (InputError, OSError) as error:
            if isinstance(error, BrokenPipeError) and not _stdout_is_read():
                return NO_READER
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("error: interrupted; the same command goes on where it was", file=sys.stderr)
            return INTERRUPTED

    return main


def _stdout_is_read() -> bool:
    """Whether a broken pipe was another one than stdout. If it was stdout, what is left in its buffer goes nowhere, or
    Python would complain when it flushes it at the very end."""
    poll = select.poll()
    poll.register(STDOUT, 0)
    if not poll.poll(0):  # a pipe without a reader reports POLLERR
        return True
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    return False
