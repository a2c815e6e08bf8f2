"""Entities in a text: SLU-F1 of SLURP, and slot-type F1 and slot-value CER of SUPERB.

A text is ``INTENT SEP type FILL filler SEP … SEP transcript``, as in ESPnet's recipes. What stands between two SEP and holds
one FILL is an entity.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

SEP, FILL = "SEP", "FILL"


class Entity(NamedTuple):
    """An entity of an utterance."""

    kind: str
    filler: str


class Confusion(NamedTuple):
    """Counts, which are fractions where fillers differ in part."""

    right: float
    false: float
    """found, and not in the reference"""
    missed: float

    @property
    def f1(self) -> float:
        """F1 in percent; 0 if nothing is right."""
        return 100 * 2 * self.right / (2 * self.right + self.false + self.missed) if self.right else 0.0


def parse(rest: str) -> tuple[list[Entity], str]:
    """(entities, transcript) of what follows the intent. A text without SEP is a transcript alone.

    White space before an apostrophe does not count, as in the scorer of SLURP.
    """
    chunks: list[list[str]] = [[]]
    for word in rest.split():
        if word == SEP:
            chunks.append([])
        else:
            chunks[-1].append(word)
    found = []
    for chunk in chunks[1:-1]:
        if chunk.count(FILL) == 1:
            at = chunk.index(FILL)
            found.append(Entity(" ".join(chunk[:at]), " ".join(chunk[at + 1 :]).replace(" '", "'")))
    return found, " ".join(chunks[-1])


def word_distance(truth: str, guess: str) -> float:
    """Word error rate of a filler."""
    import editdistance

    return editdistance.eval(truth.split(), guess.split()) / max(len(truth.split()), 1)


def character_distance(truth: str, guess: str) -> float:
    """Edit distance of characters, as a share of the longer filler."""
    import editdistance

    return editdistance.eval(truth, guess) / max(len(truth), len(guess), 1)


def slu_confusion(refs: Sequence[Entity], hyps: Sequence[Entity]) -> Confusion:
    """The sum of the confusions by words and by characters of one utterance (Bastianelli et al. 2020, sec. 4.3).

    Each found entity is right if the reference has one of its type. The nearest filler of these is taken out of the
    reference, and its distance counts as false and as missed.
    """
    right = false = missed = 0.0
    for distance in (word_distance, character_distance):
        left = list(refs)
        for hyp in hyps:
            same = [ref for ref in left if ref.kind == hyp.kind]
            if not same:
                false += 1
                continue
            nearest = min(same, key=lambda ref: distance(ref.filler, hyp.filler))  # called at once
            far = distance(nearest.filler, hyp.filler)
            right, false, missed = right + 1, false + far, missed + far
            left.remove(nearest)
        missed += len(left)
    return Confusion(right, false, missed)


def slu_f1(refs: Mapping[str, Sequence[Entity]], hyps: Mapping[str, Sequence[Entity]]) -> float:
    """SLU-F1 of SLURP in percent, over all utterances and types together."""
    found = [slu_confusion(refs[key], hyps[key]) for key in refs]
    return Confusion(*(sum(column) for column in zip(*found, strict=True))).f1


def slot_type_f1(refs: Mapping[str, Sequence[Entity]], hyps: Mapping[str, Sequence[Entity]]) -> float:
    """Mean over utterances of the F1 of their types, in percent (Lai et al. 2020; as SUPERB computes it).

    A type counts once in an utterance. An utterance without slots on both sides has an F1 of 1.
    """
    shares = []
    for key in refs:
        truth, guess = ({entity.kind for entity in side[key]} for side in (refs, hyps))
        both = len(truth | guess)
        shares.append(2 * len(truth & guess) / (len(truth) + len(guess)) if both else 1.0)
    return 100 * sum(shares) / len(shares)


def slot_value_cer(refs: Mapping[str, Sequence[Entity]], hyps: Mapping[str, Sequence[Entity]]) -> float:
    """Character error rate of the fillers in percent (Lai et al. 2020; as SUPERB computes it); 0 without a filler.

    Each filler of the reference is compared with the nearest one of its type in the hypothesis, or with nothing.
    """
    import editdistance

    wrong = characters = 0
    for key in refs:
        for kind, truth in refs[key]:
            guesses = [hyp.filler for hyp in hyps[key] if hyp.kind == kind]
            wrong += min((editdistance.eval(truth, guess) for guess in guesses), default=len(truth))
            characters += len(truth)
    return 100 * wrong / characters if characters else 0.0


def entity_report(refs: Mapping[str, Sequence[Entity]], hyps: Mapping[str, Sequence[Entity]]) -> str:
    """The text of ``result.txt``: the measures, then how often each type occurs and is found."""
    lines = [f"{name} {value:.2f} %" for name, value in entity_measures(refs, hyps).items()]
    counts = [Counter(entity.kind for key in refs for entity in side[key]) for side in (refs, hyps)]
    lines += ["", "type references hypotheses"]
    return (
        "\n".join([*lines, *(f"{kind} {counts[0][kind]} {counts[1][kind]}" for kind in sorted(counts[0] | counts[1]))])
        + "\n"
    )


def entity_measures(refs: Mapping[str, Sequence[Entity]], hyps: Mapping[str, Sequence[Entity]]) -> dict[str, float]:
    """All measures of this module."""
    return {
        "slu_f1": slu_f1(refs, hyps),
        "slot_type_f1": slot_type_f1(refs, hyps),
        "slot_value_cer": slot_value_cer(refs, hyps),
    }


def holds_entities(rests: Iterable[str]) -> bool:
    """True if any text is in the form with entities."""
    return any(SEP in rest.split() for rest in rests)
