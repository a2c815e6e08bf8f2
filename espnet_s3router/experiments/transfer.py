"""Stage 18 of recipes with several languages, the transfer matrix: each language starts from the mask of every other one.

python -m espnet_s3router.experiments.transfer --control en --language OPTIONS OF router.sh --language OPTIONS OF router.sh
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from espnet_s3router.errors import exit_status
from espnet_s3router.experiments import grid, layout
from espnet_s3router.experiments.languages import (
    FOLDER,
    KINDS,
    Language,
    check_masks,
    check_own_runs,
    languages_of,
    transferred,
)
from espnet_s3router.experiments.specification import Spec
from espnet_s3router.experiments.workers.worker import close_servers
from espnet_s3router.results.pages.document import count_speakers
from espnet_s3router.results.pages.transfer import TransferPage, report
from espnet_s3router.results.scored_runs import ScoredRun, read_run

SEPARATOR = "--language"


def train_matrix(languages: Sequence[Language], kinds: Sequence[str] = KINDS) -> dict[str, str]:
    """Train, decode and score every pair in runs of these kinds. Finished runs are kept.

    Returns the runs that failed, with the reason.
    Raises InputError before anything is trained if an own run is missing or a folder holds another run.
    """
    check_own_runs(languages)
    jobs = {language.name: grid.jobs_of(language.for_matrix, specs) for language, specs in _matrix(languages, kinds)}
    failed: dict[str, str] = {}
    for language in languages:
        print(f"masks of other languages in {language.name}", flush=True)
        failed |= grid.run_unfinished(language.for_matrix, jobs[language.name])
    return failed


def _matrix(languages: Sequence[Language], kinds: Sequence[str] = KINDS) -> Iterator[tuple[Language, list[Spec]]]:
    """Each language with its runs from all others."""
    for target in languages:
        yield target, transferred(target, [source for source in languages if source is not target], kinds)


def scored(language: Language, folders: Iterable[Path]) -> list[ScoredRun]:
    """The runs of a language among ``folders`` that are trained and scored."""
    points = [folder / layout.RUN_INFO for folder in folders if grid.finished(folder, language.options)]
    return [read_run(point, language.options.decoding_tag) for point in points]


def matrix_runs(languages: Sequence[Language]) -> list[ScoredRun]:
    """The own runs and those of the matrix, as far as they are scored."""
    runs = []
    for target, specs in _matrix(languages):
        own = [target.folder(spec) for spec in target.own]
        runs += scored(target, own + [Path(target.for_matrix.expdir, spec.name) for spec in specs])
    return runs


def about_languages(languages: Sequence[Language]) -> dict[str, Any]:
    """What a page says of the languages, as fields of ``TransferPage``."""
    test = [name for language in languages for name in language.options.held_out_sets]
    return {
        "dev": [language.options.valid_set for language in languages],
        "test": test,
        "speakers": count_speakers(languages[0].options.raw, test),
        "languages": {language.name: language.options.training_set for language in languages},
    }


def write_matrix(languages: Sequence[Language], row: str, control: str, path: Path | None) -> None:
    """Print the matrix of all runs that are scored; write its page, its rows and its heat maps."""
    runs, first = matrix_runs(languages), languages[0].options
    page = TransferPage(row=row, control=control, **about_languages(languages))
    folder = Path(first.expdir, FOLDER)
    report(page, runs, folder / layout.RESULTS, path or folder / "RESULTS.md", command=first.command)


def groups_of(words: Iterable[str], separator: str) -> list[list[str]]:
    """The words between separators."""
    groups: list[list[str]] = [[]]
    for word in words:
        if word == separator:
            groups.append([])
        else:
            groups[-1].append(word)
    return groups


@exit_status
def main(argv: Sequence[str] | None = None) -> int:
    """Train the matrix and write its page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", default="routing", help="row of methods_config that learns the masks of each language")
    parser.add_argument("--control", default="en", help="language whose masks are compared with all others on the page")
    kinds = "what is trained: frozen masks of the other language with a new head, or masks that go on learning; default both"
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help=kinds)
    parser.add_argument("--page", type=Path, help="Markdown file; by default RESULTS.md in the folder of the matrix")
    parser.add_argument(SEPARATOR, nargs=argparse.REMAINDER, default=[], help="options of router.sh; once for each language")
    args = parser.parse_args(argv)
    languages = languages_of(groups_of(args.language, SEPARATOR), args.row)
    check_masks(languages, args.row)
    try:
        failed = train_matrix(languages, args.kinds)
    finally:
        close_servers()
    write_matrix(languages, args.row, args.control, args.page)
    return grid.status_of(failed)


if __name__ == "__main__":
    raise SystemExit(main())
