"""The page of several languages on one base: every method in each language, and the methods compared on all of them.

python -m espnet_s3router.results.pages.languages --expdir exp en=dev_en,test_en es=dev_es,test_es
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import own_command
from espnet_s3router.results.comparisons import compare, corrected
from espnet_s3router.results.pages.document import Page, Section, as_markdown, count_speakers, publish
from espnet_s3router.results.rows import ACCURACY, best_named, put_rows
from espnet_s3router.results.scored_runs import (
    BASELINES,
    ScoredRun,
    System,
    choose,
    collect_runs,
    metrics_of,
    systems_by_place,
    without_repeats,
)
from espnet_s3router.results.tables import NOTHING, Table
from espnet_s3router.text_format import scaled

Chosen = dict[str, dict[str, System]]
"""method -> language -> its best variant on the validation set of the language"""


@dataclass(frozen=True, kw_only=True)
class LanguagesPage(Page):
    """The page of several languages. ``dev`` and ``test`` hold one dataset of each language, in the same order."""

    languages: Sequence[str]
    """their names"""
    identified: Mapping[str, Any] | None = None
    """what ``s3router identify --json`` printed"""

    def text(self, runs: Sequence[ScoredRun], environment: Mapping[str, str], folder: Path) -> str:
        """See ``Page``."""
        return as_markdown(self.sections(runs), environment, runs)

    def sections(self, runs: Sequence[ScoredRun]) -> list[Section]:
        """For each upstream, error rates by language and comparisons on all languages; then how often one was found.

        Raises InputError for a language without a scored run, or with several training sets on one upstream.
        """
        found = []
        for upstream in sorted({run.info["upstream"] for run in runs}):
            here = [run for run in runs if run.info["upstream"] == upstream]
            if chosen := self.chosen(here):
                found.append(self._section(upstream, chosen, here))
        if not found:
            raise InputError(f"no run is scored on all of {', '.join(self.test)}. Train these languages first (stage 11)")
        return found + ([self._identification()] if self.identified else [])

    def _section(self, upstream: str, chosen: Chosen, runs: Sequence[ScoredRun]) -> Section:
        metrics = metrics_of(runs)
        tables: dict[str, Table] = {}
        for metric in metrics:
            caption = f"{metric.upper()} % on the test set of each language; * {best_named(metric)}; {self._about(runs)}"
            tables[caption] = self._table(chosen, metric)
        return Section(["all languages", upstream], tables, self._comparisons(chosen, metrics))

    def chosen(self, runs: Sequence[ScoredRun]) -> Chosen:
        """The best variants of the runs on one upstream; empty if a language has none."""
        found: Chosen = {}
        for lang, dev, test in zip(self.languages, self.dev, self.test, strict=True):
            groups = [g for g in systems_by_place(runs).values() if any(test in r.counts for s in g for r in s.runs)]
            if len(groups) > 1:
                raise InputError(
                    f"{len(groups)} training sets have runs on one upstream that were scored on {test}, expected one. Keep "
                    "them apart with --expdir"
                )
            if not groups:
                return {}
            for system in choose(groups[0], [dev]):
                found.setdefault(system.info["method"], {})[lang] = system
        return dict(sorted(found.items(), key=lambda item: (item[0] not in BASELINES, item[0])))

    def _about(self, runs: Sequence[ScoredRun]) -> str:
        return f"variants are chosen on the validation set of the language{self.size_note(runs)}"

    def _table(self, chosen: Chosen, metric: str) -> Table:
        """A row for each method: its rate in each language, their mean, and bytes to add to the base for all languages."""
        rows = [["method", "sparsity", *self.languages, "mean", "bytes added, all languages", "seeds"]]
        rates: dict[str, list[float | None]] = {}
        for method, by_lang in chosen.items():
            intervals = [by_lang[lang].interval([test], metric) if lang in by_lang else None for lang, test in self._tests()]
            rates[method] = [100 * interval.value if interval else None for interval in intervals]
        better = max if metric == ACCURACY else min
        best = [better((r for r in column if r is not None), default=None) for column in zip(*rates.values())]
        for method, row in rates.items():
            systems = chosen[method].values()
            cells = [NOTHING if rate is None else f"{rate:.1f}{'*' * (rate == top)}" for rate, top in zip(row, best)]
            whole = [rate for rate in row if rate is not None]
            average = f"{mean(whole):.1f}" if len(whole) == len(row) else NOTHING
            size = scaled(sum(system.info["bytes_added"] for system in systems)) + "B" if average != NOTHING else NOTHING
            sparsities = sorted({system.info["sparsity"] for system in systems if system.info["sparsity"] is not None})
            seeds = sorted({seed for system in systems for seed in system.seeds})
            rows.append(
                [method, ",".join(f"{s:g}" for s in sparsities) or NOTHING, *cells, average, size, ",".join(map(str, seeds))]
            )
        return rows

    def _tests(self) -> list[tuple[str, str]]:
        return list(zip(self.languages, self.test, strict=True))

    def _comparisons(self, chosen: Chosen, metrics: Sequence[str]) -> list[str]:
        """A line for each pair of methods that all languages have, on all test sets together."""
        whole = {m: pooled(list(by_lang.values())) for m, by_lang in chosen.items() if len(by_lang) == len(self.languages)}
        found = {}
        names = list(whole)
        for metric in metrics:
            for place, baseline in enumerate(names):
                for method in names[place + 1 :]:
                    if whole[method] and whole[baseline]:
                        comparison = compare(whole[method], whole[baseline], self.test, metric)  # type: ignore[arg-type]
                        if comparison:
                            found[method, baseline, metric] = comparison
        return [f"{comparison.line(*key)} (all languages)" for key, comparison in corrected(found).items()]

    def _identification(self) -> Section:
        assert self.identified is not None
        facts = {name: value for name, value in self.identified.items() if not isinstance(value, list)}
        lines = [f"{name}: {value:.4g}" for name, value in facts.items()]
        tables = {caption: self.identified[name] for name, caption in IDENTIFIED.items()}
        return Section(["language found by s3router identify"], tables, lines)


IDENTIFIED = {
    "confusion": "share in percent of the recordings of each language that each route got, recordings of 2 s and more",
    "by_duration": "by duration",
}


def pooled(systems: Sequence[System]) -> System | None:
    """One system on the test sets of all: for each common seed a run with the scores of all. None without common seeds."""
    seeds = set.intersection(*(set(system.seeds) for system in systems))
    merged = []
    for seed in sorted(seeds):
        runs = [run for system in systems for run in system.runs if run.info["seed"] == seed]
        counts = {name: counts for run in runs for name, counts in run.counts.items()}
        words = {name: steps for run in runs for name, steps in run.word_alignments.items()}
        merged.append(replace(runs[0], counts=counts, word_alignments=words))
    return System(tuple(merged)) if merged else None


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables; write results.tsv and, if requested, RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("languages", nargs="+", metavar="LANG=DEV,TEST", help="a language and its two datasets")
    parser.add_argument("--expdir", type=Path, required=True)
    parser.add_argument("--inference_tag", help="name of the folders of decoded text, if runs have several")
    parser.add_argument("--identified", type=Path, help="file with the output of s3router identify --json")
    parser.add_argument("--dump", default="dump/raw", help="folder of the datasets, whose utt2spk tells the speakers")
    parser.add_argument("--results_md", type=Path)
    parser.add_argument("--command", default=own_command("results.pages.languages"))
    args = parser.parse_args(argv)
    names, dev, test = zip(*(language(text) for text in args.languages))
    if len(set(names)) < len(names):
        raise InputError(f"the languages are {' '.join(names)}, expected each of them once")
    identified = read_identified(args.identified) if args.identified else None
    runs = without_repeats(collect_runs(args.expdir, args.inference_tag))
    page = LanguagesPage(
        dev=dev, test=test, languages=names, identified=identified, speakers=count_speakers(args.dump, test)
    )
    numbers = args.expdir / "results.tsv"
    put_rows(numbers, page.measured(runs))
    publish(page.sections(runs), page, runs, numbers, args.results_md, args.command)


def read_identified(path: Path) -> dict[str, Any]:
    """What ``s3router identify --json`` printed, without a line for each recording. Raises InputError for another file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error}). Expected the output of s3router identify --json") from error
    missing = [name for name in IDENTIFIED if not isinstance(content, dict) or name not in content]
    if missing:
        raise InputError(f"{path}: lacks {', '.join(missing)}. Expected the output of s3router identify --json")
    return {name: value for name, value in content.items() if name != "judged"}


def language(text: str) -> tuple[str, str, str]:
    """(name, validation set, test set) of ``LANG=DEV,TEST``."""
    name, equals, datasets = text.partition("=")
    parts = datasets.split(",")
    if not (name and equals and len(parts) == 2 and all(parts)):
        raise InputError(f"a language is {text!r}, expected LANG=DEV,TEST, for example nl=dev_nl,test_nl")
    return name, *parts  # type: ignore[return-value]


if __name__ == "__main__":
    raise SystemExit(main())
