"""The last part of stage 13: tables, comparisons, RESULTS.md, results.tsv and a plot of the runs of a grid.

python -m espnet_s3router.experiments.report --options FILE
"""

from collections.abc import Sequence
from pathlib import Path

import yaml

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.experiments import grid, layout
from espnet_s3router.experiments.options import Options
from espnet_s3router.files import write_atomic
from espnet_s3router.results.pages.document import corpus_of, count_speakers, languages_of
from espnet_s3router.results.pages.grid import GridPage, best_rates, plot, report
from espnet_s3router.results.scored_runs import collect_runs, without_repeats
from espnet_s3router.text_files import read_text


def make_page(options: Options) -> None:
    """Print the page of a grid and write its files."""
    places = grid.places_of(options)
    runs = without_repeats(collect_runs(options.expdir, options.decoding_tag))
    runs = [run for run in runs if run.place in places]
    if not runs:
        names = ", ".join(" · ".join(place) for place in sorted(places))
        raise InputError(f"{options.expdir}: no run of {names}; train first (stage 11)")
    page = GridPage(
        dev=[options.valid_set],
        test=options.held_out_sets,
        unseen=list(read_text(options.unseen)) if options.unseen else None,
        speakers=count_speakers(options.raw, options.held_out_sets),
        corpus=corpus_of("data", (options.train_set, *options.test_sets)),
        groups={} if options.both_tasks else languages_of(options.raw, options.held_out_sets),
    )
    numbers = Path(options.expdir, layout.RESULTS)
    results = report(page, runs, numbers, results_md=options.results_md, command=options.command)
    if options.best_rates:
        write_atomic(options.best_rates, yaml.safe_dump(best_rates(results)))
        print(f"best rates: {options.best_rates}")
    for path in plot(results, options.expdir, page):
        print(f"plot: {path}")


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Make the page of the options."""
    make_page(grid.parse_arguments(__doc__, argv)[0])


if __name__ == "__main__":
    raise SystemExit(main())
