"""Make the pages of a recipe again from the files that are committed beside them.

python -m espnet_s3router.results.pages.remake egs2/s3router/asterisk/asr1
"""

import argparse
import gzip
import json
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import write_atomic
from espnet_s3router.results.pages.document import counts_file
from espnet_s3router.results.pages.grid import GridPage
from espnet_s3router.results.pages.languages import LanguagesPage
from espnet_s3router.results.pages.sweep import SweepPage
from espnet_s3router.results.pages.tasks import TasksPage
from espnet_s3router.results.pages.transfer import TransferPage
from espnet_s3router.results.pages.upstreams import UpstreamsPage
from espnet_s3router.results.scored_runs import ScoredRun

KINDS = {kind.__name__: kind for kind in (GridPage, LanguagesPage, SweepPage, TasksPage, TransferPage, UpstreamsPage)}


def remake(page: Path) -> str:
    """The text of a page, from its counts file. Raises InputError if the file is missing or damaged."""
    file = counts_file(page)
    try:
        source = json.loads(gzip.decompress(file.read_bytes()))
        runs = [ScoredRun(**run | {"path": Path(run["path"])}) for run in source["runs"]]
        made = KINDS[source["kind"]](**source["page"])
    except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{file}: cannot be read as the counts of a page ({error}); make {page} again") from error
    return made.text(runs, source["environment"], page.parent)


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Write every page of the folders that has a counts file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    for folder in parser.parse_args(argv).folders:
        files = sorted(counts_file(folder / "PAGE.md").parent.glob("*.json.gz"))
        if not files:
            raise InputError(f"{folder}: no results/counts/*.json.gz; its pages were made before counts were kept")
        for page in (folder / f"{file.name.removesuffix('.json.gz')}.md" for file in files):
            write_atomic(page, remake(page))
            print(page)


if __name__ == "__main__":
    raise SystemExit(main())
