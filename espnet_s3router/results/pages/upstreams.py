"""The page of several upstreams: the same methods on each of them, compared pair by pair.

python -m espnet_s3router.results.pages.upstreams --expdir exp/downstream --dev dev_en --test test_en --upstream hubert_mini
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import git_commit, own_command
from espnet_s3router.results.comparisons import compare, corrected
from espnet_s3router.results.pages.document import Page, count_speakers, markdown_table, percent, write_page
from espnet_s3router.results.rows import put_rows
from espnet_s3router.results.scored_runs import (
    ScoredRun,
    System,
    choose,
    collect_runs,
    metrics_of,
    systems_by_place,
    without_repeats,
)

Chosen = dict[str, dict[str, System]]
"""method -> upstream -> its best variant on the validation set"""


@dataclass(frozen=True, kw_only=True)
class UpstreamsPage(Page):
    """The page of several upstreams."""

    upstream: str
    """the upstream that is compared with all others"""
    purity: Mapping[str, Mapping[str, float]] | None = None
    """clusters of the pretraining -> their agreement with phones (``purity.json``)"""

    def text(self, runs: Sequence[ScoredRun], environment: Mapping[str, str], folder: Path) -> str:
        """See ``Page``."""
        head = f"# Results\n\n`{environment['command']}`, commit {environment['Git hash']}\n\n"
        head += f"## Downstream, {'+'.join(self.test)}\n\n"
        return head + self.downstream(runs) + self.clusters()

    def downstream(self, runs: Sequence[ScoredRun]) -> str:
        """Error rates and comparisons."""
        chosen: Chosen = {}
        for group in systems_by_place(runs).values():
            for system in choose(group, self.dev):
                chosen.setdefault(system.info["method"], {})[system.info["upstream"]] = system
        metrics = metrics_of(runs)
        lines = [f"- {line}" for line in _differences(chosen, self.upstream, self.test, metrics)]
        note = self.size_note(runs).removeprefix("; ")
        return (
            "\n".join([*_table(chosen, self.dev, self.test, metrics), "", *([note, ""] if note else []), "\n".join(lines)])
            + "\n"
        )

    def clusters(self) -> str:
        """Agreement of the clusters with phones; empty without ``purity``."""
        if not self.purity:
            return ""
        keys = list(next(iter(self.purity.values())))
        rows = [[name, *(f"{values[key]:.3f}" for key in keys)] for name, values in self.purity.items()]
        return "\n".join(["\n## Clusters against phones", *markdown_table([["clusters", *keys], *rows], pad=" ")]) + "\n"


def _table(chosen: Chosen, dev: Sequence[str], test: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """A Markdown table with a row for each method and upstream."""
    heads = [f"{metric.upper()} {name} %" for metric in metrics for name in ("dev", "test")]
    rows = [["method", "sparsity", "upstream", *heads, "seeds"]]
    for method, by_upstream in chosen.items():
        for upstream, system in sorted(by_upstream.items()):
            rates = [percent(system.interval(names, metric)) for metric in metrics for names in (dev, test)]
            sparsity = system.info["sparsity"]
            rows.append([method, "" if sparsity is None else str(sparsity), upstream, *rates, str(len(system.seeds))])
    return markdown_table(rows, pad=" ")


def _differences(chosen: Chosen, upstream: str, test: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """``upstream`` against every other one, method by method. Raises InputError if no run has this upstream."""
    if not any(upstream in by_upstream for by_upstream in chosen.values()):
        names = sorted({name for by_upstream in chosen.values() for name in by_upstream})
        raise InputError(f"--upstream is {upstream!r}, and the runs are on {', '.join(names)}")
    found = {}
    for method, by_upstream in chosen.items():
        for other in sorted(set(by_upstream) - {upstream}) if upstream in by_upstream else ():
            for metric in metrics:
                if comparison := compare(by_upstream[upstream], by_upstream[other], test, metric):
                    found[f"{method} on {upstream}", other, metric] = comparison
    return [comparison.line(*names) for names, comparison in corrected(found).items()]


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Print the table; write results.tsv and, if asked for, RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expdir", type=Path, required=True)
    parser.add_argument("--dev", nargs="+", required=True)
    parser.add_argument("--test", nargs="+", required=True)
    parser.add_argument("--upstream", required=True, help="the upstream that is compared with all others")
    parser.add_argument("--pretraining", type=Path, help="folder with purity.json, for RESULTS.md")
    parser.add_argument("--dump", default="dump/raw", help="folder of the datasets, whose utt2spk tells the speakers")
    parser.add_argument("--results_md", type=Path)
    parser.add_argument("--command", default=own_command("results.pages.upstreams"))
    args = parser.parse_args(argv)
    runs = without_repeats(collect_runs(args.expdir))
    purity = args.pretraining / "purity.json" if args.pretraining else None
    page = UpstreamsPage(
        dev=args.dev,
        test=args.test,
        upstream=args.upstream,
        purity=json.loads(purity.read_text(encoding="utf-8")) if purity and purity.is_file() else None,
        speakers=count_speakers(args.dump, args.test),
    )
    print(page.downstream(runs))
    put_rows(args.expdir / "results.tsv", page.measured(runs))
    if args.results_md:
        environment = {"command": args.command, "Git hash": git_commit()}
        write_page(args.results_md, page.text(runs, environment, args.results_md.parent), page, runs, environment)


if __name__ == "__main__":
    raise SystemExit(main())
