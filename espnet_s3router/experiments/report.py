"""Stage 13's page of a grid: tables, comparisons, RESULTS.md, results.tsv and a plot.

python -m espnet_s3router.experiments.report --expdir exp --dev dev_en --test test_en --results_md RESULTS.md
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.experiments.grid import grid_parser, places_of
from espnet_s3router.files import own_command
from espnet_s3router.results.pages import grid
from espnet_s3router.results.pages.document import count_speakers
from espnet_s3router.results.scored_runs import collect_runs, without_repeats
from espnet_s3router.text_files import read_text


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables of a folder of experiments; write results.tsv and, if asked for, RESULTS.md and the plot."""
    parser = argparse.ArgumentParser(description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--expdir", type=Path, required=True)
    parser.add_argument("--dev", nargs="+", required=True, help="datasets on which variants are chosen, pooled")
    parser.add_argument("--test", nargs="+", required=True, help="datasets on which methods are compared, pooled")
    parser.add_argument("--unseen", help="file whose first column lists test utterances with texts not trained on")
    parser.add_argument("--dump", default="dump/raw", help="folder of the datasets, whose utt2spk tells the speakers")
    parser.add_argument("--results_md", help="RESULTS.md to write")
    parser.add_argument("--results_tsv", help="default: results.tsv in expdir")
    parser.add_argument("--plot", help="PNG of CER against sparsity to write")
    parser.add_argument("--best_rates", help="methods file to write: the best learning rate of each method on dev")
    parser.add_argument("--inference_tag", help="which decoding, if a run has several")
    parser.add_argument("--command", default=own_command("experiments.report"), help="command to name in RESULTS.md")
    help_grid = "the rest are options of experiments.grid: only the recipe, upstream and split of that grid are shown"
    parser.add_argument("--grid", nargs=argparse.REMAINDER, default=[], help=help_grid)
    args = parser.parse_args(argv)
    runs = without_repeats(collect_runs(args.expdir, args.inference_tag))
    if args.grid:
        places = places_of(grid_parser().parse_args(args.grid))
        runs = [run for run in runs if run.place in places]
        if not runs:
            names = ", ".join(" · ".join(place) for place in sorted(places))
            raise InputError(f"{args.expdir}: no run of {names}; train first (stage 11)")
    page = grid.GridPage(
        dev=args.dev,
        test=args.test,
        unseen=list(read_text(args.unseen)) if args.unseen else None,
        speakers=count_speakers(args.dump, args.test),
    )
    grid.report(
        page,
        runs,
        results_tsv=args.results_tsv or args.expdir / "results.tsv",
        results_md=args.results_md,
        command=args.command,
        rates_file=args.best_rates,
        plot_file=args.plot,
    )


if __name__ == "__main__":
    raise SystemExit(main())
