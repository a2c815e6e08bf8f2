"""Errors that are the user's to mend: what was got, what was expected, how to fix it."""

import functools
import sys
from collections.abc import Callable, Sequence


class InputError(ValueError):
    """Something given from outside (a file, an option, a checkpoint) cannot be used as it is."""


def exit_status(command: Callable[[Sequence[str] | None], object]) -> Callable[..., int]:
    """``main`` of a command that ends as a command should: 0, or 1 with the message on stderr after an InputError or an
    OSError (a full disk, no permission)."""

    @functools.wraps(command)
    def main(argv: Sequence[str] | None = None) -> int:
        try:
            command(argv)
        except (InputError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        return 0

    return main
