"""Errors that are the user's to mend: what was got, what was expected, how to fix it."""

import functools
import os
import sys
from collections.abc import Callable, Sequence


class InputError(ValueError):
    """Something given from outside (a file, an option, a checkpoint) cannot be used as it is."""


INTERRUPTED = 130  # what a shell says of a command that Ctrl-C ended
NO_READER = 141  # and of one whose reader went away, as in `s3router methods | head`


def exit_status(command: Callable[[Sequence[str] | None], int | None]) -> Callable[..., int]:
    """``main`` of a command that ends as a command should: with the status it returns or 0; 1 with the message on stderr
    after an InputError or an OSError (a full disk, no permission); 130 after Ctrl-C, 141 when nobody reads stdout on."""

    @functools.wraps(command)
    def main(argv: Sequence[str] | None = None) -> int:
        try:
            status = command(argv) or 0
            sys.stdout.flush()  # a reader that is gone shows here, or else at the very end and with a traceback
            return status
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return NO_READER
        except (InputError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("error: interrupted; the same command goes on where it was", file=sys.stderr)
            return INTERRUPTED

    return main
