"""Merge results files, for example the rows that one machine has finished into the committed file.

python -m espnet_s3router.results.merge exp/results.tsv results/whisper_tiny_en.tsv
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.results.rows import METRICS, put_rows, read_rows


def merge(sources: Sequence[Path], target: Path, methods: Sequence[str] = ()) -> tuple[int, int]:
    """Put the rows of ``sources`` into ``target``, of some methods only if given. New rows replace those of the same key.

    Prints every error rate that changes: the runs of a sweep may then have started from different dense models. Returns
    the number of rows put and the number of rows in the target. Raises InputError for a missing file or if there are no
    rows.
    """
    if missing := [path for path in sources if not path.exists()]:
        raise InputError(f"{missing[0]}: there is no such file; expected the results.tsv of a recipe's exp")
    rows = {row.key: row for path in sources for row in read_rows(path) if not methods or row.method in methods}
    if not rows:
        of_methods = f" of {', '.join(methods)}" if methods else ""
        files = ", ".join(map(str, sources))
        raise InputError(f"{files}: no rows{of_methods}; finish a run first (stages 11 to 13, or 16)")
    old = {row.key: row.value for row in read_rows(target)}
    for key, row in rows.items():
        if row.metric in METRICS and old.get(key, row.value) != row.value:
            number = f"{row.metric.upper()} of {row.method} seed {row.seed} on {row.set}"
            print(f"{target}: {number}: {old[key]:.1f}, now {row.value:.1f}")
    return len(rows), len(put_rows(target, rows.values()))


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Merge, and print the number of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--methods", nargs="+", default=[], help="merge only the rows of these methods")
    args = parser.parse_args(argv)
    put, total = merge(args.sources, args.target, args.methods)
    print(f"{args.target}: {put} rows put there, {total} in all")


if __name__ == "__main__":
    raise SystemExit(main())
