"""The command line and the output that all benchmarks share."""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def run(
    description: str | None,
    targets: Mapping[str, str],
    measure: Callable[[argparse.Namespace, Path], dict[str, Any]],
    flags: Mapping[str, str],
    files: Mapping[str, str] | None = None,
) -> None:
    """Parse the options, call ``measure`` with them and a temporary folder, and print its figures.

    ``targets`` are printed beside the figures of the same name. ``flags`` are further options with their help, and ``files``
    are further options that take a file.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rounds", type=int, default=5, help="timed updates of each method (at least 3)")
    parser.add_argument("--tiny", action="store_true", help="use a toy upstream, to test the benchmark itself")
    for name, text in flags.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    for name, text in (files or {}).items():
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=text)
    args = parser.parse_args()
    if args.rounds < 3:
        parser.error(f"--rounds is {args.rounds}, expected at least 3: the figures are medians")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        figures = measure(args, Path(folder))
    print(json.dumps(rounded(figures)) if args.json else table(figures, targets))


def rounded(value: Any) -> Any:
    """Round numbers to four significant digits, also within dictionaries."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return value if isinstance(value, bool) else float(f"{value:.4g}")


def table(figures: Mapping[str, Any], targets: Mapping[str, str]) -> str:
    """Format one line for each figure, with its target."""
    flat: dict[str, Any] = {}
    for key, value in figures.items():
        flat |= {f"{key} {name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return "\n".join(f"{key:36}{rounded(value)!s:>10}  {targets.get(key, '')}".rstrip() for key, value in flat.items())
