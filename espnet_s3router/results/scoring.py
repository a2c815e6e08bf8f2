"""Word, character, token and phone error rates of one decoded dataset.

python -m espnet_s3router.results.scoring --ref dump/raw/test/text --hyp DIR/text --outdir DIR
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import write_atomic
from espnet_s3router.results.alignment import Alignment, Counts, align, check_keys, segment, tokenise
from espnet_s3router.results.rows import WORD_METRICS
from espnet_s3router.text_files import read_lines, read_symbols, read_text

COUNTS = "counts.json"
"""{metric: {utterance: [correct, substituted, deleted, inserted]}}"""
MEASURES = "measures.json"
"""{measure: value in percent}, of what is no rate of counts"""
WORD_ALIGNMENTS = "word_alignments.json"
"""{utterance: one letter per alignment step of its words or phones, see ``alignment.STEPS``}, for matched pairs"""
TABLE_HEAD = "|dataset|Snt|Wrd|Corr|Sub|Del|Ins|Err|S.Err|\n|---|---|---|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Totals:
    """Counts summed over utterances. ``sentence_errors``: utterances with at least one error."""

    sentences: int
    hits: int
    substitutions: int
    deletions: int
    insertions: int
    sentence_errors: int

    @property
    def reference(self) -> int:
        """Tokens in the references."""
        return self.hits + self.substitutions + self.deletions

    def percent(self) -> list[float]:
        """Corr, Sub, Del, Ins, Err, S.Err in percent; many insertions make Err larger than 100."""
        errors = [self.substitutions, self.deletions, self.insertions]
        shares = [100 * n / self.reference for n in (self.hits, *errors, sum(errors))]
        return [*shares, 100 * self.sentence_errors / self.sentences]

    @property
    def rate(self) -> float:
        """Error rate in percent."""
        return self.percent()[4]


def totals(counts: Iterable[Counts]) -> Totals:
    """Sum of per-utterance counts. Raises InputError if there is no reference token."""
    rows = list(counts)
    hits, sub, dele, ins = (sum(row[i] for row in rows) for i in range(4))
    if hits + sub + dele == 0:
        raise InputError(f"{len(rows)} utterance(s) hold no reference token: an error rate is not defined.")
    return Totals(len(rows), hits, sub, dele, ins, sum(any(row[1:]) for row in rows))


def espnet_row(dataset: str, total: Totals) -> str:
    """One row of ESPnet's RESULTS.md table, |dataset|Snt|Wrd|Corr|Sub|Del|Ins|Err|S.Err|, in percent."""
    numbers = [str(total.sentences), str(total.reference)] + [f"{p:.1f}" for p in total.percent()]
    return f"|{'|'.join([dataset, *numbers])}|"


def result_text(metric: str, alignments: Mapping[str, Alignment]) -> str:
    """The text of ``result.txt``: the total first, then the counts and the alignment of each utterance."""
    total = totals(utt.counts for utt in alignments.values())
    shares = " ".join(f"{p:.1f}" for p in total.percent())
    lines = [
        f"{metric.upper()} {total.rate:.2f} % (minimum edit distance by jiwer; *** marks a gap)",
        "| SPKR    | # Snt # Wrd | Corr Sub Del Ins Err S.Err |",  # the words ESPnet users grep for
        f"| Sum/Avg | {total.sentences} {total.reference} | {shares} |",
    ]
    for key, utt in alignments.items():
        hits, sub, dele, ins = utt.counts
        widths = [max(len(r), len(h)) for r, h in zip(utt.ref, utt.hyp, strict=True)]
        lines += ["", f"{key}  hits {hits} sub {sub} del {dele} ins {ins}"]
        for name, row in (("ref", utt.ref), ("hyp", utt.hyp)):
            padded = " ".join(token.ljust(width) for token, width in zip(row, widths, strict=True))
            lines.append(f"  {name}  {padded}".rstrip())
    return "\n".join(lines) + "\n"


def score_dir(
    ref: str | Path,
    hyp: str | Path,
    outdir: str | Path,
    *,
    token_list: str | Path | None = None,
    nlsyms: Sequence[str] = (),
    phones: bool = False,
) -> dict[str, Totals]:
    """Score one decoded dataset. Writes ``score_*/result.txt``, ``word_alignments.json`` and ``counts.json``.

    ``counts.json`` is written last: if it exists, the scoring is complete. TER comes from the texts segmented by
    ``token_list``; without it there is no TER. ``phones``: the texts are phones with spaces between them, which gives the
    phone error rate (``per``) in place of WER and CER. Raises InputError for keys that do not match, before anything is
    written.
    """
    refs, hyps = read_text(ref), read_text(hyp)
    check_keys(hyps, refs, f"{hyp}")
    texts = [refs, {key: hyps[key] for key in refs}]
    words = [{k: tokenise(t, "wer", nlsyms) for k, t in side.items()} for side in texts]
    characters = [{k: tokenise(t, "cer", nlsyms) for k, t in side.items()} for side in texts]
    tokens = {"per": words} if phones else {"wer": words, "cer": characters}
    if token_list:
        known = read_lines(token_list)
        tokens["ter"] = [{k: segment(" ".join(w), known) for k, w in side.items()} for side in words]
    return write_scores({metric: align(*sides) for metric, sides in tokens.items()}, Path(outdir))


def write_scores(
    alignments: Mapping[str, Mapping[str, Alignment]], outdir: Path, reports: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Totals]:
    """Write the files of ``score_dir`` for metric -> utterance -> alignment; those of alignments of words if there are any.

    ``reports``: metric -> text of its ``result.txt``, instead of the usual one.
    """
    results = {metric: reports.get(metric) or result_text(metric, utts) for metric, utts in alignments.items()}
    for metric, text in results.items():
        write_atomic(outdir / f"score_{metric}" / "result.txt", text)
    for aligned in [alignments[metric] for metric in WORD_METRICS if metric in alignments]:
        steps = {key: utt.steps for key, utt in aligned.items()}
        write_atomic(outdir / WORD_ALIGNMENTS, json.dumps(steps, ensure_ascii=False) + "\n")
    counts = {metric: {key: utt.counts for key, utt in utts.items()} for metric, utts in alignments.items()}
    write_atomic(outdir / COUNTS, json.dumps(counts, ensure_ascii=False) + "\n")
    return {metric: totals(utts.values()) for metric, utts in counts.items()}


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Score one decoded dataset and print its rows in ESPnet's form."""
    parser = argparse.ArgumentParser(description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--ref", required=True, help="reference text, key words…")
    parser.add_argument("--hyp", required=True, help="hypothesis text, key words…; a key alone is empty")
    parser.add_argument("--outdir", required=True)
    parser.add_argument("--token_list", help="segment the texts by this list for TER")
    parser.add_argument("--nlsyms_txt", help="symbols to leave out, one per line")
    parser.add_argument("--phones", action="store_true", help="the texts are phones: PER in place of WER and CER")
    options = vars(parser.parse_args(argv))
    nlsyms = options.pop("nlsyms_txt")
    options["nlsyms"] = read_symbols(nlsyms) if nlsyms else ()
    scored = score_dir(**options)
    print(TABLE_HEAD.replace("dataset", "metric"))
    for metric, total in scored.items():
        print(espnet_row(metric.upper(), total))


if __name__ == "__main__":
    raise SystemExit(main())
