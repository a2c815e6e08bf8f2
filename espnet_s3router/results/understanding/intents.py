"""Intents: the first word of each text. Accuracy by utterance, and F1 of each intent."""

from collections.abc import Mapping
from dataclasses import dataclass

from espnet_s3router.errors import InputError
from espnet_s3router.results.alignment import GAP, Alignment


@dataclass(frozen=True)
class Understood:
    """A text in its two parts."""

    intent: str
    """Empty if nothing was recognised."""
    rest: str
    """What follows the intent: entities, a transcript, or nothing."""


def split_text(text: str) -> Understood:
    """``conf you are the only one`` as ``conf`` and the transcript."""
    intent, _, rest = text.strip().partition(" ")
    return Understood(intent, rest.strip())


def align_intents(refs: Mapping[str, str], hyps: Mapping[str, str]) -> dict[str, Alignment]:
    """One word for each utterance. ``refs``, ``hyps``: utterance -> intent; an empty hypothesis counts as a deletion.

    Raises InputError for a reference without an intent.
    """
    if empty := [key for key, intent in refs.items() if not intent]:
        raise InputError(f"{len(empty)} references are empty, for example {empty[0]}. Expected an intent as the first word")
    found = {}
    for key, intent in refs.items():
        steps = "C" if hyps[key] == intent else "S" if hyps[key] else "D"
        found[key] = Alignment([intent], [hyps[key] or GAP], steps)
    return found


def macro_f1(refs: Mapping[str, str], hyps: Mapping[str, str]) -> float:
    """Mean F1 in percent of the intents that occur in ``refs``, each counted alike."""
    from sklearn.metrics import f1_score

    truth, guesses = list(refs.values()), [hyps[key] for key in refs]
    return 100 * float(f1_score(truth, guesses, labels=sorted(set(truth)), average="macro", zero_division=0))


def intent_report(refs: Mapping[str, str], hyps: Mapping[str, str]) -> str:
    """The text of ``result.txt``: accuracy and macro-F1, then precision, recall and F1 of each intent."""
    from sklearn.metrics import precision_recall_fscore_support

    intents, truth, guesses = sorted(set(refs.values())), list(refs.values()), [hyps[key] for key in refs]
    columns = precision_recall_fscore_support(truth, guesses, labels=intents, zero_division=0)
    right = sum(map(str.__eq__, truth, guesses))
    lines = [
        f"ACCURACY {100 * right / len(truth):.2f} % ({right} of {len(truth)} utterances)",
        f"macro-F1 {macro_f1(refs, hyps):.2f} % over {len(intents)} intents",
        "",
        "intent precision recall F1 utterances",
    ]
    for intent, *shares, count in zip(intents, *columns, strict=True):
        lines.append(f"{intent} {' '.join(f'{100 * share:.1f}' for share in shares)} {count}")
    wrong = [f"{key} {intent} -> {hyps[key] or GAP}" for key, intent in refs.items() if hyps[key] != intent]
    return "\n".join([*lines, "", "wrong:", *wrong]) + "\n"
