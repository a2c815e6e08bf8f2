"""Tokens of a text, and the minimum-edit alignment of hypotheses with references.

Alignments are jiwer's: every error costs 1. (sclite weighs a substitution 4 against 3 for an insertion or a deletion, so
its split into substitutions, deletions and insertions can differ by a few counts.)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from espnet_s3router.errors import InputError

SPACE = "<space>"  # how ESPnet's character token lists name a space
GAP = "***"  # stands in an alignment where one side has no token
STEPS = {"equal": "C", "substitute": "S", "delete": "D", "insert": "I"}
"""jiwer's name of an alignment step -> the letter that sclite prints for it."""

Counts = Sequence[int]  # correct, substituted, deleted and inserted tokens of one utterance
Tokens = Mapping[str, Sequence[str]]  # utterance -> its tokens, free of white space


@dataclass(frozen=True)
class Alignment:
    """One utterance: reference and hypothesis padded to one length with ``***``, and a letter of ``STEPS`` per column."""

    ref: list[str]
    hyp: list[str]
    steps: str

    @property
    def counts(self) -> Counts:
        """Number of steps of each kind, in the order of ``STEPS``."""
        return tuple(self.steps.count(letter) for letter in STEPS.values())


def tokenise(text: str, metric: str, nlsyms: Sequence[str] = ()) -> list[str]:
    """Words (``wer``) of a text, or its characters with ``<space>`` between words (``cer``).

    Words that are listed in ``nlsyms`` are left out. ``cer`` removes them inside of words too, as ESPnet does, because a
    model of characters may write them without spaces.
    """
    for symbol in nlsyms if metric == "cer" else ():
        text = text.replace(symbol, "")
    words = [word for word in text.split() if word not in nlsyms]
    return words if metric == "wer" else [SPACE if c == " " else c for c in " ".join(words)]


def segment(text: str, token_list: Sequence[str]) -> list[str]:
    """Greedy longest-match segmentation by a token list; text that no token covers becomes ``<unk>``.

    The form of the list decides how spaces are treated. ``▁`` begins a word (sentencepiece). ``<space>`` is a token
    (characters). With neither, each word is a token (phones). This only approximates a sentencepiece unigram model.
    """
    known = set(token_list)
    if any(token.startswith("▁") for token in known):
        text = "".join("▁" + word for word in text.split())
    elif SPACE not in known:
        return [word if word in known else "<unk>" for word in text.split()]
    longest, tokens, start = max(map(len, known)), [], 0
    while start < len(text):
        ends = range(min(len(text), start + longest), start, -1)
        end = next((end for end in ends if text[start:end] in known), start + 1)
        piece = SPACE if text[start:end] == " " else text[start:end]
        tokens.append(piece if piece in known else "<unk>")
        start = end
    return tokens


def align(refs: Tokens, hyps: Tokens) -> dict[str, Alignment]:
    """Minimum-edit alignment of each utterance. Raises InputError if the utterances differ."""
    import jiwer

    check_keys(hyps, refs, "the hypothesis")
    split = jiwer.ReduceToListOfListOfWords()
    ref, hyp = ([" ".join(side[key]) for key in refs] for side in (refs, hyps))
    output = jiwer.process_words(ref, hyp, reference_transform=split, hypothesis_transform=split)
    pairs = zip(refs, output.alignments, strict=True)
    return {key: _alignment(refs[key], hyps[key], chunks) for key, chunks in pairs}


def _alignment(ref: Sequence[str], hyp: Sequence[str], chunks: Iterable) -> Alignment:
    steps = ""
    rows: tuple[list[str], list[str]] = ([], [])
    for chunk in chunks:
        pieces = (ref[chunk.ref_start_idx : chunk.ref_end_idx], hyp[chunk.hyp_start_idx : chunk.hyp_end_idx])
        width = max(map(len, pieces))
        steps += width * STEPS[chunk.type]
        for row, piece in zip(rows, pieces, strict=True):
            row.extend([*piece, *[GAP] * (width - len(piece))])
    return Alignment(*rows, steps)


def check_keys(keys: Iterable[str], expected: Iterable[str], owner: str) -> None:
    """Raises InputError unless both hold the same utterances, in any order. ``owner``: what the message names."""
    keys, expected = set(keys), set(expected)
    for problem, wrong in (("lacks", expected - keys), ("has, beyond the references,", keys - expected)):
        if wrong:
            names = ", ".join(sorted(wrong)[:5]) + (", …" if len(wrong) > 5 else "")
            raise InputError(f"{owner} {problem} {len(wrong)} utterance(s): {names}. Give exactly the same utterances.")
