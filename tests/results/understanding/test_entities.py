"""Entities, against independent implementations of the published definitions, on cases made by hand.

SLU-F1: https://github.com/pswietojanski/slurp/tree/master/scripts/evaluation (arXiv 2011.13205).
Slot-type F1 and slot-value CER: SUPERB, arXiv 2105.01051.
"""

import json
import random

import pytest

from espnet_s3router.results.understanding import entities
from espnet_s3router.results.understanding.entities import Entity, parse, slot_type_f1, slot_value_cer, slu_f1
from espnet_s3router.results.understanding.scoring import score_understanding
from local.intents import utterances


def edit_distance(a, b):
    """Levenshtein's, by its recursion, row by row."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y)))
    return row[-1]


def slurp_scorer(pairs):
    """SLU-F1 as SLURP's evaluation scripts define it: tables of each type by words and by characters, then their sum."""
    tables = {}
    distances = {
        "word": lambda truth, guess: edit_distance(truth.split(), guess.split()) / len(truth.split()),
        "char": lambda truth, guess: edit_distance(truth, guess) / max(len(truth), len(guess)),
    }
    for name, distance in distances.items():
        for gold, found in pairs:
            gold = list(gold)
            for kind, filler in found:
                cell = tables.setdefault((name, kind), [0.0, 0.0, 0.0])
                candidates = [(distance(truth, filler), at) for at, (other, truth) in enumerate(gold) if other == kind]
                if candidates:
                    far, at = min(candidates)
                    gold.pop(at)
                    cell[0] += 1
                    cell[1] += far
                    cell[2] += far
                else:
                    cell[1] += 1
            for kind, _ in gold:
                tables.setdefault((name, kind), [0.0, 0.0, 0.0])[2] += 1
    tp, fp, fn = map(sum, zip(*tables.values()))
    precision, recall = tp / (tp + fp) if tp else 0.0, tp / (tp + fn) if tp else 0.0
    return 100 * 2 * precision * recall / (precision + recall) if tp else 0.0


E = Entity
CASES = {
    "all right": ([E("date", "tomorrow")], [E("date", "tomorrow")]),
    "a word of two": ([E("person", "mary jane")], [E("person", "mary joan")]),
    "another type": ([E("date", "ten")], [E("time", "ten")]),
    "missed and invented": ([E("date", "ten"), E("place", "rome")], [E("food", "pizza"), E("place", "rome")]),
    "two of a type, crossed": ([E("p", "ann lee"), E("p", "bob")], [E("p", "bobby"), E("p", "ann")]),
    "one found of two": ([E("p", "ann"), E("p", "bob")], [E("p", "bob")]),
    "longer than the truth": ([E("t", "ten")], [E("t", "ten in the morning")]),
    "nothing found": ([E("t", "ten")], []),
    "nothing to find": ([], [E("t", "ten")]),
    "nothing on both sides": ([], []),
}


def keyed(pairs):
    return [{str(n): pair[side] for n, pair in enumerate(pairs)} for side in (0, 1)]


@pytest.mark.parametrize("case", CASES)
def test_slu_f1_of_one_utterance(case):
    """Beside an utterance that is right, so that there is something to score."""
    pairs = [CASES[case], CASES["all right"]]
    assert slu_f1(*keyed(pairs)) == pytest.approx(slurp_scorer(pairs))


def test_slu_f1_by_hand():
    """``mary jane`` found as ``mary joan``: distances 1/2 by words and 2/9 by characters; 2 of each 1 + 1 right."""
    false = 1 / 2 + 2 / 9
    assert slu_f1(*keyed([CASES["a word of two"]])) == pytest.approx(100 * 2 * 2 / (2 * 2 + 2 * false))


def random_pairs(seed, count=60):
    generator, words = random.Random(seed), ["ann", "bob", "lee", "ten", "rome", "tomorrow"]

    def side():
        sizes = range(generator.randrange(4))
        return [E(generator.choice("abc"), " ".join(generator.choices(words, k=generator.randint(1, 3)))) for _ in sizes]

    return [(side(), side()) for _ in range(count)]


@pytest.mark.parametrize("pairs", [[*CASES.values()], random_pairs(0), random_pairs(1)])
def test_slu_f1_of_a_dataset(pairs):
    assert slu_f1(*keyed(pairs)) == pytest.approx(slurp_scorer(pairs))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pairs", [[*CASES.values()], random_pairs(2), random_pairs(3)])
def test_slots_as_in_superb(pairs):
    """Against s3prl's scorer, which reads B-type filler E-type."""
    from s3prl.metric import slot_filling

    texts = [[" ".join(f"B-{e.kind} {e.filler} E-{e.kind}" for e in pair[side]) for pair in pairs] for side in (0, 1)]
    assert slot_type_f1(*keyed(pairs)) == pytest.approx(100 * slot_filling.slot_type_f1(texts[1], texts[0]))
    assert slot_value_cer(*keyed(pairs)) == pytest.approx(100 * slot_filling.slot_value_cer(texts[1], texts[0]))


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("SEP date FILL ten SEP wake me", ([E("date", "ten")], "wake me")),
        ("SEP a FILL what 's on SEP b FILL x y SEP t", ([E("a", "what's on"), E("b", "x y")], "t")),
        ("SEP wake me", ([], "wake me")),
        ("wake me", ([], "wake me")),
        ("SEP date FILL ten", ([], "date FILL ten")),  # an unfinished hypothesis: what follows the last SEP is no entity
        ("SEP date ten SEP FILL x FILL y SEP t", ([], "t")),  # none or two FILL
        ("", ([], "")),
    ],
)
def test_texts_in_espnets_form(rest, expected):
    assert parse(rest) == expected


def test_files_of_a_dataset(tmp_path):
    """Accuracy, WER of the transcript alone, and the measures of entities."""
    refs = {"u1": "alarm_set SEP time FILL ten SEP wake me at ten", "u2": "qa_maths SEP two and two"}
    hyps = {"u2": "qa_maths SEP two and three", "u1": "alarm_query SEP time FILL tan SEP wake me at ten"}
    for name, table in (("ref", refs), ("hyp", hyps)):
        (tmp_path / name).write_text("".join(f"{key} {text}\n" for key, text in table.items()))
    totals = score_understanding(tmp_path / "ref", tmp_path / "hyp", tmp_path / "out")
    assert totals["accuracy"].rate == 50 and totals["wer"].rate == pytest.approx(100 / 7)
    measures = json.loads((tmp_path / "out/measures.json").read_text())
    assert measures["slu_f1"] == pytest.approx(slurp_scorer([([E("time", "ten")], [E("time", "tan")]), ([], [])]))
    assert measures["slot_type_f1"] == 100 and measures["slot_value_cer"] == pytest.approx(100 / 3)
    assert "time 1 1" in (tmp_path / "out/score_entities/result.txt").read_text()
    assert (entities.SEP, entities.FILL) == (utterances.SEP, utterances.FILL)
