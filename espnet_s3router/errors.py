"""Errors that are the user's to mend: what was got, what was expected, how to fix it."""

import functools
import sys
from collections.abc import Callable, Sequence


class InputError(ValueError):
    """Something given from outside (a file, an option, a checkpoint) cannot be used as it is."""


INTERRUPTED = 130  # what a shell says of a command that Ctrl-C ended


def exit_status(command: Callable[[Sequence[str] | None], int | None]) -> Callable[..., int]:
    """``main`` of a command that ends as a command should: with the status it returns or 0; 1 with the message on stderr
    after an InputError or an OSError (a full disk, no permission); 130 after Ctrl-C."""

    @functools.wraps(command)
    def main(argv: Sequence[str] | None = None) -> int:
        try:
            return command(argv) or 0
        except (InputError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("error: interrupted; the same command goes on where it was", file=sys.stderr)
            return INTERRUPTED

    return main
