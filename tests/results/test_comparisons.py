"""Comparisons with matched pairs, and the words that a page has for them."""

import pytest
from toy_points import UTTERANCES, add_run

from espnet_s3router.results.bootstrap import Difference
from espnet_s3router.results.comparisons import Comparison, compare, corrected
from espnet_s3router.results.scored_runs import collect_runs, systems


@pytest.fixture
def pair(tmp_path):
    """Systems with 2 and with 12 word errors."""
    add_run(tmp_path, "a", "a", 2)
    add_run(tmp_path, "b", "b", 12)
    return systems(collect_runs(tmp_path))


def test_word_errors_have_a_p_value(pair):
    found = compare(*pair, ["test"], "wer")
    # 12 segments with an error: the difference is 0 in 2 and -1 in 10, so Z = -5/6 / (sqrt(5/33) / sqrt(12))
    assert found.p_value == pytest.approx(1.2e-13, rel=0.1)
    line = "a vs b: -83.3 % relative WER [-100.0, -63.6] better, p < .001 (matched pairs)"
    assert found.line("a", "b", "wer").partition(" [")[0] == line.partition(" [")[0]
    assert found.line("a", "b", "wer").endswith("] better, p < .001 (matched pairs)")
    assert compare(*pair, ["test"], "cer").p_value is None


def test_a_subset_has_its_own_p_value(pair):
    assert compare(*pair, ["test"], "wer", UTTERANCES[:2]).p_value == 1


def test_folders_without_alignments_have_no_p_value(tmp_path):
    """Folders that were scored before alignments were stored."""
    add_run(tmp_path, "a", "a", 2)
    add_run(tmp_path, "b", "b", 12)
    (tmp_path / "b/inference/test/word_alignments.json").unlink()
    found = compare(*systems(collect_runs(tmp_path)), ["test"], "wer")
    assert found.p_value is None and found.line("a", "b", "wer").endswith("] better")


@pytest.mark.parametrize(
    ("p_value", "text"),
    [(1.0, "p = 1.00"), (0.031, "p = .03"), (0.0042, "p = .004"), (0.0004, "p < .001"), (0.2, "p = .20")],
)
def test_digits_of_p(pair, p_value, text):
    assert Comparison(*pair, Difference(0, 0, 0), p_value).p_text() == f", {text}"


def test_several_p_values_are_corrected(pair):
    values = {"x": 0.02, "y": 0.03, "without": None}
    found = corrected({name: Comparison(*pair, Difference(0, 0, 0), value) for name, value in values.items()})
    assert {name: comparison.p_value for name, comparison in found.items()} == {"x": 0.04, "y": 0.04, "without": None}
    assert {found[name].test for name in ("x", "y")} == {"matched pairs, Holm"}
    (one,) = corrected({"x": Comparison(*pair, Difference(0, 0, 0), 0.02)}).values()
    assert (one.p_value, one.test) == (0.02, "matched pairs")
