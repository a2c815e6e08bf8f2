"""Word, character and token error rates of one decoded set, aligned by utterance key.

Alignments are jiwer's minimum edit distances, every error costing 1. (sclite weighs a substitution
4 against 3 for an insertion or a deletion, so its S/D/I split can differ by a few counts.)

    python -m espnet_s3router.results.scoring --ref dump/raw/test/text --hyp DIR/text --outdir DIR
"""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import write_atomic
from espnet_s3router.text_files import read_lines, read_text

SPACE = "<space>"  # how ESPnet's character token lists name a space
CLEANERS: dict[str, Callable[[str], str]] = {"none": str, "lowercase": str.lower}
TABLE_HEAD = "|dataset|Snt|Wrd|Corr|Sub|Del|Ins|Err|S.Err|\n|---|---|---|---|---|---|---|---|---|"

Counts = Sequence[int]  # hits, substitutions, deletions, insertions of one utterance
Tokens = Mapping[str, Sequence[str]]  # utterance -> its tokens, free of white space


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
        """Corr, Sub, Del, Ins, Err, S.Err in percent; Err is above 100 where insertions are many."""
        errors = [self.substitutions, self.deletions, self.insertions]
        shares = [100 * n / self.reference for n in (self.hits, *errors, sum(errors))]
        return [*shares, 100 * self.sentence_errors / self.sentences]

    @property
    def rate(self) -> float:
        """Error rate in percent."""
        return self.percent()[4]


@dataclass(frozen=True)
class Aligned:
    """One utterance: reference and hypothesis padded to one length with ``***``, and its counts."""

    ref: list[str]
    hyp: list[str]
    counts: Counts


def check_keys(got: Iterable[str], expected: Iterable[str], what: str) -> None:
    """Raises InputError unless both hold the same utterance keys; order does not matter."""
    got, expected = set(got), set(expected)
    for word, keys in (("lacks", expected - got), ("has, beyond the references,", got - expected)):
        if keys:
            names = ", ".join(sorted(keys)[:5]) + (", …" if len(keys) > 5 else "")
            raise InputError(f"{what} {word} {len(keys)} utterance(s): {names}. Give exactly the same set.")


def tokenise(text: str, metric: str, nlsyms: Sequence[str] = (), cleaner: str = "none") -> list[str]:
    """Words (``wer``) of a text, or its characters with ``<space>`` between words (``cer``).

    ``nlsyms`` are removed where they stand as whole words, before the cleaner sees the text.
    """
    words = CLEANERS[cleaner](" ".join(w for w in text.split() if w not in nlsyms)).split()
    return words if metric == "wer" else [SPACE if c == " " else c for c in " ".join(words)]


def segment(text: str, token_list: Sequence[str]) -> list[str]:
    """Greedy longest-match segmentation by a token list; what no token covers is ``<unk>``.

    The list's own form says what a space is: ``▁`` begins a word (sentencepiece), ``<space>`` is a
    token (characters), neither: each word is a token (phones). For a sentencepiece unigram model
    this only approximates its segmentation: give token files where the exact one matters.
    """
    known = set(token_list)
    if any(token.startswith("▁") for token in known):
        text = "".join("▁" + word for word in text.split())
    elif SPACE not in known:
        return [word if word in known else "<unk>" for word in text.split()]
    longest, tokens, at = max(map(len, known)), [], 0
    while at < len(text):
        ends = range(min(len(text), at + longest), at, -1)
        end = next((end for end in ends if text[at:end] in known), at + 1)
        piece = SPACE if text[at:end] == " " else text[at:end]
        tokens.append(piece if piece in known else "<unk>")
        at = end
    return tokens


def align(refs: Tokens, hyps: Tokens) -> dict[str, Aligned]:
    """Minimum-edit alignment, utterance by utterance. Raises InputError where the keys differ."""
    import jiwer

    check_keys(hyps, refs, "the hypothesis")
    split = jiwer.ReduceToListOfListOfWords()
    ref, hyp = ([" ".join(side[key]) for key in refs] for side in (refs, hyps))
    output = jiwer.process_words(ref, hyp, reference_transform=split, hypothesis_transform=split)
    pairs = zip(refs, output.alignments, strict=True)
    return {key: _aligned(refs[key], hyps[key], chunks) for key, chunks in pairs}


def _aligned(ref: Sequence[str], hyp: Sequence[str], chunks: Iterable) -> Aligned:
    tally = dict.fromkeys(("equal", "substitute", "delete", "insert"), 0)
    rows: tuple[list[str], list[str]] = ([], [])
    for chunk in chunks:
        pieces = (ref[chunk.ref_start_idx : chunk.ref_end_idx], hyp[chunk.hyp_start_idx : chunk.hyp_end_idx])
        width = max(map(len, pieces))
        tally[chunk.type] += width
        for row, piece in zip(rows, pieces, strict=True):
            row.extend([*piece, *["***"] * (width - len(piece))])
    return Aligned(*rows, counts=tuple(tally.values()))


def totals(counts: Iterable[Counts]) -> Totals:
    """Sum per-utterance counts; InputError when they hold no reference token at all."""
    rows = list(counts)
    hits, sub, dele, ins = (sum(row[i] for row in rows) for i in range(4))
    if hits + sub + dele == 0:
        raise InputError(f"{len(rows)} utterance(s) hold no reference token: an error rate is not defined.")
    return Totals(len(rows), hits, sub, dele, ins, sum(any(row[1:]) for row in rows))


def espnet_row(dataset: str, total: Totals) -> str:
    """One row of ESPnet's RESULTS.md table, |dataset|Snt|Wrd|Corr|Sub|Del|Ins|Err|S.Err|, in percent."""
    numbers = [str(total.sentences), str(total.reference)] + [f"{p:.1f}" for p in total.percent()]
    return f"|{'|'.join([dataset, *numbers])}|"


def result_text(metric: str, aligned: Mapping[str, Aligned]) -> str:
    """The text of ``result.txt``: the total first, then each utterance's counts and alignment."""
    total = totals(utt.counts for utt in aligned.values())
    shares = " ".join(f"{p:.1f}" for p in total.percent())
    lines = [
        f"{metric.upper()} {total.rate:.2f} % (minimum edit distance by jiwer; *** marks a gap)",
        "| SPKR    | # Snt # Wrd | Corr Sub Del Ins Err S.Err |",  # the words ESPnet users grep for
        f"| Sum/Avg | {total.sentences} {total.reference} | {shares} |",
    ]
    for key, utt in aligned.items():
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
    ref_token: str | Path | None = None,
    hyp_token: str | Path | None = None,
    token_list: str | Path | None = None,
    subset: Iterable[str] | None = None,
    nlsyms: Sequence[str] = (),
    cleaner: str = "none",
) -> dict[str, Totals]:
    """Score one decoded set; writes ``score_{wer,cer,ter}/result.txt``, then ``counts.json``.

    ``counts.json`` is {metric: {utterance: [hits, sub, del, ins]}} and is written last: where it lies,
    the scoring is whole. TER comes from ``ref_token`` and ``hyp_token`` (Kaldi files of tokens) or, without
    them, from the texts cut by ``token_list``; with neither there is no TER. ``subset``: the utterances to
    score. Raises InputError for keys that do not match, before anything is written.
    """
    refs = read_text(ref)
    keep = list(refs) if subset is None else list(subset)
    if unknown := sorted(set(keep) - set(refs)):
        raise InputError(f"the subset names utterances that {ref} lacks: {', '.join(unknown[:5])}.")
    texts = [_read_side(path, refs, keep) for path in (ref, hyp)]
    words = [{k: tokenise(t, "wer", nlsyms, cleaner) for k, t in side.items()} for side in texts]
    texts = [{k: " ".join(w) for k, w in side.items()} for side in words]
    tokens = {"wer": words, "cer": [{k: tokenise(t, "cer") for k, t in side.items()} for side in texts]}
    if ref_token and hyp_token:
        sides = [_read_side(path, refs, keep) for path in (ref_token, hyp_token)]
        tokens["ter"] = [{k: t.split() for k, t in side.items()} for side in sides]
    elif ref_token or hyp_token:
        raise InputError("TER needs both --ref_token and --hyp_token (or only --token_list); one was given.")
    elif token_list:
        known = read_lines(token_list)
        tokens["ter"] = [{k: segment(t, known) for k, t in side.items()} for side in texts]
    return _write_scores({metric: align(*sides) for metric, sides in tokens.items()}, Path(outdir))


def _read_side(path: str | Path, refs: Iterable[str], keep: Iterable[str]) -> dict[str, str]:
    """Texts of the utterances to keep, once it is known that the file holds all references' keys."""
    texts = read_text(path)
    check_keys(texts, refs, f"{path}")
    return {key: texts[key] for key in keep}


def _write_scores(aligned: Mapping[str, Mapping[str, Aligned]], outdir: Path) -> dict[str, Totals]:
    results = {metric: result_text(metric, utts) for metric, utts in aligned.items()}
    for metric, text in results.items():
        write_atomic(outdir / f"score_{metric}" / "result.txt", text)
    counts = {metric: {key: utt.counts for key, utt in utts.items()} for metric, utts in aligned.items()}
    write_atomic(outdir / "counts.json", json.dumps(counts, ensure_ascii=False) + "\n")
    return {metric: totals(utts.values()) for metric, utts in counts.items()}


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Score one decoded set from the command line and print its rows in ESPnet's form."""
    parser = argparse.ArgumentParser(description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--ref", required=True, help="reference text, key words…")
    parser.add_argument("--hyp", required=True, help="hypothesis text, key words…; a key alone is empty")
    parser.add_argument("--outdir", required=True)
    parser.add_argument("--ref_token", help="reference tokens, key tokens…, for TER")
    parser.add_argument("--hyp_token", help="hypothesis tokens, key tokens…, for TER")
    parser.add_argument("--token_list", help="cut the texts by this list for TER, where no token files are given")
    parser.add_argument("--subset", help="score only the utterances in this file's first column")
    parser.add_argument("--nlsyms_txt", help="symbols to leave out, one a line")
    parser.add_argument("--cleaner", choices=CLEANERS, default="none")
    options = vars(parser.parse_args(argv))
    nlsyms, subset = options.pop("nlsyms_txt"), options.pop("subset")
    options |= {"nlsyms": read_lines(nlsyms) if nlsyms else (), "subset": read_text(subset) if subset else None}
    scored = score_dir(**options)
    print(TABLE_HEAD.replace("dataset", "metric"))
    for metric, total in scored.items():
        print(espnet_row(metric.upper(), total))


if __name__ == "__main__":
    raise SystemExit(main())
