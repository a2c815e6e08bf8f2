"""What the commands share: errors of input become a paragraph, not a traceback."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from espnet_s3router.errors import InputError


def report_input_errors(main: Callable[..., Any]) -> Callable[..., Any]:
    """Print an InputError, or that a file cannot be opened, and exit with code 1, as every command of this package, when
    called as a command; raise it when called with arguments from Python."""

    @wraps(main)
    def wrapped(cmd: Any = None) -> Any:
        try:
            return main(cmd)
        except (InputError, FileNotFoundError, IsADirectoryError, PermissionError) as error:
            if cmd is not None:
                raise
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)

    return wrapped
