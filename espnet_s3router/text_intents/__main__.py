"""Stages 11 and 13 of a recipe on texts: ``python -m espnet_s3router.text_intents --methods "finetune routing" …``."""

import sys
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.errors import exit_status
from espnet_s3router.files import read_yaml
from espnet_s3router.results.pages.grid import GridPage, plot, report
from espnet_s3router.results.scored_runs import collect_runs
from espnet_s3router.text_intents.options import TextOptions
from espnet_s3router.text_intents.train import TAG, runs_of, train


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Train and score all runs, one after another, then make their page."""
    options = TextOptions.parse(sys.argv[1:] if argv is None else argv)
    options.check()
    rows = read_yaml(options.methods_config)
    runs = runs_of(options, rows)
    if options.stage <= 11 <= options.stop_stage:
        for run in runs:
            print(f"{run.folder(options)}: training", flush=True)
            train(run, options, rows[run.label])
    if options.stop_stage >= 13:
        scored = collect_runs(options.expdir, TAG)
        page = GridPage(dev=[options.valid_set], test=options.held_out_sets)
        numbers = Path(options.expdir, "results.tsv")
        results = report(page, scored, numbers, results_md=options.results_md, command=options.command)
        for path in plot(results, options.expdir, page):
            print(f"plot: {path}")


if __name__ == "__main__":
    raise SystemExit(main())
