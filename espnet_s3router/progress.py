"""Progress bars of commands: on stderr, and only where that is a terminal."""

import sys
from collections.abc import Collection, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def progress(items: Collection[Item], description: str, unit: str, *, prints: bool = False) -> Iterator[Item]:
    """``items`` one after the other, with a bar that is gone in the end.

    ``prints``: the caller prints a line for each item. There is no bar then if stdout is a terminal, too.
    The bar is also seen where a command silences what other libraries print on ``sys.stderr``.
    """
    from tqdm import tqdm  # not above: the help of commands loads no other package

    disable = True if prints and sys.stdout.isatty() else None  # None: where there is no terminal
    yield from tqdm(items, description, unit=unit, leave=False, disable=disable, file=sys.__stderr__)
