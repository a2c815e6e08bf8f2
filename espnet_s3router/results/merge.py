"""Rows of results files into another one, such as what a machine has finished into the file that is committed.

python -m espnet_s3router.results.merge exp/results.tsv results/whisper_tiny_en.tsv
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.results.page import METRICS
from espnet_s3router.results.rows import put_rows, read_rows


def merge(sources: Sequence[Path], target: Path, methods: Sequence[str] = ()) -> tuple[int, int]:
    """Put the rows of ``sources`` (of some methods, if given) into ``target``, where they replace those of the same key.
    Says which error rates that changes, returns how many rows were put there and how many it holds then; InputError if a
    file cannot be read or nothing is left."""
    if missing := [path for path in sources if not path.exists()]:
        raise InputError(f"{missing[0]}: there is no such file; expected the results.tsv of a recipe's exp")
    rows = {row.key: row for path in sources for row in read_rows(path) if not methods or row.method in methods}
    if not rows:
        asked = f" of {', '.join(methods)}" if methods else ""
        raise InputError(f"{', '.join(map(str, sources))}: no rows{asked}; finish a point first (stages 11 to 13, or 16)")
    before = {row.key: row.value for row in read_rows(target)}
    for key, row in rows.items():  # of a dense model: the points of both files were pruned from different ones
        if row.metric in METRICS and before.get(key, row.value) != row.value:
            told = (
                f"{row.metric.upper()} of {row.method} seed {row.seed} on {row.set}: {before[key]:.1f}, now {row.value:.1f}"
            )
            print(f"{target}: {told}")
    return len(rows), len(put_rows(target, rows.values()))


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Merge and say how many rows there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--methods", nargs="+", default=[], help="only their rows")
    args = parser.parse_args(argv)
    put, held = merge(args.sources, args.target, args.methods)
    print(f"{args.target}: {put} rows put there, {held} in all")


if __name__ == "__main__":
    raise SystemExit(main())
