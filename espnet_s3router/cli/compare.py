"""``s3router compare``: experiments side by side, with intervals and tests."""

import argparse
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

FORMATS = ("text", "markdown", "tsv", "html", "json")


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "compare",
        help="experiments in one table, with intervals and tests",
        description="Compares scored experiments. Runs that differ only in their seed are one system.",
        epilog="example: s3router compare exp/asr_finetune_seed* exp/asr_routing_s0.08_seed* --sets test --format markdown",
    )
    parser.add_argument("folders", nargs="+", metavar="EXP", help="experiment folders, or folders of experiments")
    parser.add_argument("--sets", nargs="+", default=[], metavar="SET", help="decoded datasets; by default all in common")
    parser.add_argument("--baseline", default="", metavar="SYSTEM", help="compare with this system; by default the first")
    parser.add_argument("--inference_tag", help="one of several decodings of a run")
    text = "measure the real-time factor of each system on these recordings now; let nothing else run meanwhile"
    parser.add_argument("--measure_rtf", nargs="+", default=[], metavar="AUDIO", help=text)
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print both tables."""
    from espnet_s3router.results.side_by_side import read_experiments, side_by_side
    from espnet_s3router.text_format import aligned

    runs = read_experiments(args.folders, args.inference_tag)
    speeds = measured(runs, args.measure_rtf) if args.measure_rtf else None
    found = side_by_side(runs, args.sets, args.baseline, speeds)
    tables = [table for table in (found.rates, found.comparisons) if len(table) > 1]
    if args.format == "json":
        named = {"rates": found.rates, "comparisons": found.comparisons}
        print(json.dumps({name: as_records(table) for name, table in named.items()}, ensure_ascii=False))
        return
    layout = {"text": aligned, "markdown": markdown, "tsv": as_tsv, "html": as_html}[args.format]
    print("\n\n".join(layout(table) for table in tables))
    if args.format != "tsv":
        print(f"\n<p>{found.note}</p>" if args.format == "html" else f"\n{found.note}")


def measured(runs: Sequence[Any], audio: Sequence[str]) -> dict[Path, float]:
    """Path of a run -> its real-time factor, for the first seed of each system."""
    from espnet_s3router.cli.arguments import audio_of
    from espnet_s3router.cli.quiet import quiet_imports
    from espnet_s3router.progress import progress
    from espnet_s3router.results.scored_runs import systems

    waves, speeds = [audio_of(path) for path in audio], {}
    for run in progress([system.runs[0] for system in systems(runs)], "real-time factors", "system"):
        with quiet_imports():
            from espnet_s3router.plugin.deployment.speed import experiment_rtf

            speeds[run.path] = experiment_rtf(run.path, waves, decoded_with(run))
    return speeds


def decoded_with(run: Any) -> str | None:
    """Name of the model file whose text was scored; None if the folder does not tell it."""
    from espnet_s3router.experiments.layout import DECODED

    markers = [run.path / tag / dataset / DECODED for dataset, tag in run.inference_tags.items()]
    known = [json.loads(marker.read_text(encoding="utf-8")) for marker in markers if marker.is_file()]
    return known[0].get("model") if known else None


def markdown(table: list[list[str]]) -> str:
    """A table of Markdown."""
    from espnet_s3router.results.pages.document import markdown_table

    return "\n".join(markdown_table(table))


def as_tsv(table: Sequence[Sequence[str]]) -> str:
    """Tab-separated values."""
    return "\n".join("\t".join(row) for row in table)


def as_html(table: Sequence[Sequence[str]]) -> str:
    """A table of HTML."""
    rows = [("th", table[0]), *(("td", row) for row in table[1:])]
    lines = ("".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) for tag, row in rows)
    return "\n".join(["<table>", *(f"<tr>{line}</tr>" for line in lines), "</table>"])


def as_records(table: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    """One mapping for each row."""
    return [dict(zip(table[0], row)) for row in table[1:]]
