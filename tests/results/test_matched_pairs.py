"""The matched-pairs test, against segments by hand and against NIST's sc_stats."""

import random
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from espnet_s3router.results.alignment import align
from espnet_s3router.results.matched_pairs import holm, matched_pairs, segment_errors


@pytest.mark.parametrize(
    ("ours", "theirs", "segments"),
    [
        ("CCCC", "CCCC", []),
        ("CCSCC", "CCCCC", [(1, 0)]),
        ("SCSCC", "CCCDC", [(2, 1)]),  # one correct word does not end a segment
        ("SCCCS", "CCCCS", [(1, 0), (1, 1)]),
        ("SCCSCC", "CCCDCC", [(1, 0), (1, 1)]),
        ("SCICS", "CCCS", [(3, 1)]),  # an insertion stands between the two correct words
        ("CCI", "CC", [(1, 0)]),
        ("ICC", "CC", [(1, 0)]),
        ("DD", "SIIS", [(2, 4)]),
        ("III", "", [(3, 0)]),
        ("", "", []),
    ],
)
def test_segments_by_hand(ours, theirs, segments):
    assert list(segment_errors([ours, theirs])) == segments


words = st.lists(st.sampled_from(["C", "S", "D", "IC", "CI", "CC"]), max_size=8)


@given(st.lists(words, min_size=1, max_size=4))
def test_no_error_is_lost(sides):
    count = min(len("".join(side).replace("I", "")) for side in sides)
    steps = []
    for side in sides:  # the same number of reference words in each
        text = "".join(side)
        while len(text.replace("I", "")) > count:
            text = text[:-1]
        steps.append(text)
    found = list(segment_errors(steps))
    assert [sum(column) for column in zip(*found)] == [len(text.replace("C", "")) for text in steps] or not found
    assert all(any(errors) for errors in found)


def test_statistic_by_hand():
    found = matched_pairs([["SCCCSCCS", "CC"]], [["CCCCSCCC", "SC"]])  # differences 1, 0, 1, -1
    assert (found.segments, found.mean) == (4, 0.25)
    deviation = (sum((d - 0.25) ** 2 for d in (1, 0, 1, -1)) / 3) ** 0.5
    assert found.z == pytest.approx(0.25 / (deviation / 2))
    assert found.p == pytest.approx(2 * norm.sf(found.z))


@pytest.mark.parametrize("sides", [(["CC"], ["CC"]), (["SCC"], ["CCC"]), (["SCCS"], ["CCCC"]), (["SCCS"], ["SCCS"])])
def test_equal_differences_are_no_evidence(sides):
    found = matched_pairs([sides[0]], [sides[1]])
    assert (found.z, found.p) == (0, 1)


def test_seeds_are_averaged_within_segments_of_all_runs():
    """More seeds with the same errors are no new evidence."""
    ours, theirs = ["SCCCSCCS", "CC"], ["CCCCSCCC", "SC"]
    assert matched_pairs([ours, ours], [theirs]) == matched_pairs([ours], [theirs])
    mixed = matched_pairs([ours, ["CCCCCCCC", "CC"]], [theirs])
    assert (mixed.segments, mixed.mean) == (4, pytest.approx((0.5 - 0.5 + 0.5 - 1) / 4))


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # the article's procedure by hand
    assert holm([0.6, 0.7]) == [1, 1] and holm([0.02]) == [0.02] and holm([]) == []


def texts():
    """Reference and two hypotheses. Words differ from each other, so that every minimal alignment is the same."""
    draw = random.Random(7)
    ref = {f"u{n:02d}": [f"w{n}x{i}" for i in range(draw.randint(6, 14))] for n in range(24)}

    def spoil(rate):
        made = {}
        for key, words in ref.items():
            changed = []
            for word in words:
                kind = draw.choices("CSDI", (1 - rate, rate * 0.6, rate * 0.25, rate * 0.15))[0]
                changed += {"C": [word], "S": [f"{word}no"], "D": [], "I": [f"extra{word}", word]}[kind]
            made[key] = changed
        return made

    return ref, spoil(0.15), spoil(0.25)


SC_STATS = {"segments": 40, "z": -1.973, "p": 0.049}
"""What sc_stats 1.3 of Debian's sctk 2.4.10 prints for these texts: see the last test for the commands."""


def test_numbers_of_sc_stats():
    ref, *systems = texts()
    found = matched_pairs(*([[aligned.steps for aligned in align(ref, hyp).values()]] for hyp in systems))
    assert {"segments": found.segments, "z": round(found.z, 3), "p": round(found.p, 3)} == SC_STATS


@pytest.mark.skipif(not shutil.which("sctk"), reason="sctk is not installed")
def test_sc_stats_prints_these_numbers(tmp_path):
    """sctk sclite -r ref trn -h a trn -i rm -o sgml; cat a.sgml b.sgml | sctk sc_stats -p -t mapsswe -v -n out"""

    def sctk(*words, **changes):
        subprocess.run(["sctk", *words], cwd=tmp_path, check=True, capture_output=True, **changes)

    for name, side in zip(("ref", "a", "b"), texts()):
        lines = (f"{' '.join(words)} (spk-{key})\n" for key, words in side.items())
        (tmp_path / name).write_text("".join(lines), encoding="utf-8")
    for name in ("a", "b"):
        sctk("sclite", "-r", "ref", "trn", "-h", name, "trn", "-i", "rm", "-o", "sgml")
    sgml = b"".join((tmp_path / f"{name}.sgml").read_bytes() for name in ("a", "b"))
    for detail in ("-v", "-u"):  # Z, and p
        sctk("sc_stats", "-p", "-t", "mapsswe", detail, "-n", f"out{detail}", input=sgml)
    report = (tmp_path / "out-v.stats.mapsswe").read_text()
    segments, z = re.search(r"# segs: (\d+)\).*Z Stat: (-?[\d.]+)", report).groups()
    (p,) = re.findall(r"MP.* (0\.\d+) ", (tmp_path / "out-u.stats.unified").read_text())
    assert {"segments": int(segments), "z": float(z), "p": float(p)} == SC_STATS
