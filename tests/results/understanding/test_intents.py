"""Intents: accuracy and macro-F1 against counts by hand, by key, whatever follows the intent."""

import json

import pytest

from espnet_s3router.errors import InputError
from espnet_s3router.results.rows import read_rows
from espnet_s3router.results.scored_runs import collect_runs, systems
from espnet_s3router.results.side_by_side import side_by_side
from espnet_s3router.results.understanding.intents import macro_f1
from espnet_s3router.results.understanding.scoring import main, score_understanding

REF = {
    "a1": "VM you have new messages",
    "a2": "VM goodbye",
    "b1": "CONF you are the only person",
    "b2": "CONF goodbye",
    "c1": "DIR enter the last name",
}
HYP = {
    "c1": "DIR enter the first name",  # right, one word wrong
    "b2": "VM goodbye",
    "b1": "CONF you are the only person",
    "a2": "VM",
    "a1": "",
}


def write(path, table):
    path.write_text("".join(f"{key} {text}".rstrip() + "\n" for key, text in table.items()), encoding="utf-8")
    return path


def f1_by_definition(truth, guesses):
    """2 TP / (2 TP + FP + FN) of each intent of the references, and their mean in percent."""
    shares = []
    for intent in set(truth):
        right = sum(t == g == intent for t, g in zip(truth, guesses))
        wrong = sum(g == intent != t for t, g in zip(truth, guesses)) + sum(t == intent != g for t, g in zip(truth, guesses))
        shares.append(2 * right / (2 * right + wrong))
    return 100 * sum(shares) / len(shares)


def test_by_key_with_transcripts_in_another_order(tmp_path):
    totals = score_understanding(write(tmp_path / "ref", REF), write(tmp_path / "hyp", HYP), tmp_path / "out")
    counts = json.loads((tmp_path / "out/counts.json").read_text())
    assert counts["accuracy"] == {
        "a1": [0, 0, 1, 0], "a2": [1, 0, 0, 0], "b1": [1, 0, 0, 0], "b2": [0, 1, 0, 0], "c1": [1, 0, 0, 0]
    }  # fmt: skip
    assert totals["accuracy"].rate == pytest.approx(40)
    # words behind the intent: 4 + 1 + 5 + 1 + 4; deleted 4 and 1, one substituted
    assert (totals["wer"].reference, totals["wer"].rate) == (15, pytest.approx(100 * 6 / 15))
    truth, guesses = ["VM", "VM", "CONF", "CONF", "DIR"], ["", "VM", "CONF", "VM", "DIR"]
    measures = json.loads((tmp_path / "out/measures.json").read_text())
    assert measures["macro_f1"] == pytest.approx(f1_by_definition(truth, guesses))
    report = (tmp_path / "out/score_accuracy/result.txt").read_text()
    assert report.startswith("ACCURACY 60.00 % (3 of 5 utterances)")
    assert "VM 50.0 50.0 50.0 2" in report and "b2 CONF -> VM" in report


def test_the_intent_alone(tmp_path):
    """References without transcripts: accuracy is the only metric. Words that follow an intent do not matter."""
    ref = write(tmp_path / "ref", {key: text.split()[0] for key, text in REF.items()})
    assert score_understanding(ref, write(tmp_path / "hyp", HYP), tmp_path / "out").keys() == {"accuracy"}
    assert not (tmp_path / "out/word_alignments.json").exists()


def test_missing_hypotheses_count_as_wrong_and_are_told(tmp_path, capsys):
    some = {key: REF[key] for key in ("b1", "a1")}
    files = ["--ref", str(write(tmp_path / "ref", REF)), "--hyp", str(write(tmp_path / "hyp", some))]
    assert main([*files, "--outdir", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert "lacks 3 of 5 utterances, which count as wrong: a2" in told.err
    assert "ACCURACY 40.00 %, 5 utterances" in told.out and "WER 40.00 %" in told.out  # 6 of 15 words


def test_further_and_empty_keys(tmp_path):
    hyp = write(tmp_path / "hyp", HYP | {"z9": "VM"})
    with pytest.raises(InputError, match=r"has, beyond the references, 1 utterance\(s\): z9"):
        score_understanding(write(tmp_path / "ref", REF), hyp, tmp_path / "out")
    with pytest.raises(InputError, match="1 references are empty, for example x"):
        score_understanding(write(tmp_path / "ref", {"x": ""}), write(tmp_path / "hyp", {"x": "VM"}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("guesses", [["a", "b", "a", "c"], ["", "", "", ""], ["d", "b", "b", "a"]])
def test_macro_f1_by_its_definition(guesses):
    truth = ["a", "b", "b", "c"]
    keyed = ({str(n): intent for n, intent in enumerate(side)} for side in (truth, guesses))
    assert macro_f1(*keyed) == pytest.approx(f1_by_definition(truth, guesses))


def test_rows_intervals_and_pages_have_the_accuracy(tmp_path):
    from toy_points import add_point

    from espnet_s3router.results.pages.grid import GridPage, grid_results, plot, report

    for method, hyp in (("finetune", HYP), ("routing", REF | {"b2": "VM goodbye"})):
        add_point(tmp_path / "exp", method, method, 0)
        for name in ("dev", "test"):  # in place of the scores of add_point
            folder = tmp_path / "exp" / method / "inference" / name
            score_understanding(write(tmp_path / "ref", REF), write(tmp_path / "hyp", hyp), folder)
    runs = collect_runs(tmp_path / "exp")
    page = GridPage(dev=["dev"], test=["test"])
    results = report(page, runs, tmp_path / "results.tsv", results_md=tmp_path / "RESULTS.md")
    rows = {(row.method, row.metric): row.value for row in read_rows(tmp_path / "results.tsv") if row.set == "test"}
    assert rows["finetune", "accuracy"] == pytest.approx(60) and rows["routing", "accuracy"] == pytest.approx(80)
    assert rows["finetune", "accuracy_deletions"] == rows["finetune", "accuracy_substitutions"] == 1
    assert rows["routing", "macro_f1"] == pytest.approx(f1_by_definition("VVCCD", "VVCVD"))
    finetune, routing = systems(runs)
    interval = finetune.interval(["test"], "accuracy")
    assert interval.value == pytest.approx(0.6) and 0 <= interval.low < 0.6 < interval.high <= 1
    (line,) = side_by_side(runs, ["test"]).comparisons[1:2]
    assert line[:5] == ["routing", "finetune", "test", "intent errors", line[4]] and line[4].startswith("-50.0 [")
    (one,) = grid_results(runs, page)
    text = (tmp_path / "RESULTS.md").read_text()
    assert "the variant of its method with the highest ACCURACY on dev" in text and "ACCURACY test %" in text
    assert "routing vs finetune: -50.0 % relative intent errors" in "\n".join(one.section.comparisons)
    assert "macro f1 test" in text and "80.0 [" in text
    assert [path.name for path in plot(results, tmp_path, page)] == ["accuracy_against_sparsity.png"]
