"""The page of a transfer matrix, from experiment folders of three languages."""

import shutil

import pytest
from toy_points import add_point

from espnet_s3router.results.heat_map import draw_heat_maps
from espnet_s3router.results.pages.remake import main
from espnet_s3router.results.pages.transfer import ADAPTED, FROZEN, TransferPage, matrices, report
from espnet_s3router.results.scored_runs import collect_runs

LANGUAGES = ("en", "es", "fr")
OWN = {"en": 2, "es": 4, "fr": 5}
"""Errors in ten characters with the own masks."""
OTHERS = {  # (source, target): (frozen, adapted)
    **{("en", "es"): (5, 3), ("en", "fr"): (6, 5), ("es", "en"): (4, 2), ("es", "fr"): (7, 4), ("fr", "en"): (3, 2)},
    ("fr", "es"): (6, 5),
}


@pytest.fixture
def runs(tmp_path):
    """Folders of every pair. A second learning rate of one own run is worse on dev and better on test."""
    for target, errors in OWN.items():
        about = {"sparsity": 0.1, "split": f"train_{target}", "sets": (f"dev_{target}", f"test_{target}")}
        add_point(tmp_path / "exp", f"own_{target}", "routing", errors, **about)
        for source in LANGUAGES:
            for kind, wrong in zip((FROZEN, ADAPTED), OTHERS.get((source, target), ())):
                method = f"from_{source}_{kind}"
                add_point(tmp_path / "exp", f"{method}_{target}", method, wrong, **about)
    about = {"sparsity": 0.1, "split": "train_es", "sets": ("dev_es", "test_es"), "variant": "other", "lr": 1.0}
    add_point(tmp_path / "exp", "own_es_lr1", "routing", (9, 0), **about)
    return collect_runs(tmp_path / "exp")


def page(**changes):
    sets = {part: [f"{part}_{language}" for language in LANGUAGES] for part in ("dev", "test")}
    languages = {language: f"train_{language}" for language in LANGUAGES}
    return TransferPage(**({**sets, "row": "routing", "control": "en", "languages": languages} | changes))


def test_tables(runs):
    """Each cell is the error rate and its relative difference to the own masks; rows are the sources."""
    found = {matrix.kind: matrix.table(LANGUAGES) for matrix in matrices(runs, page())}
    assert found.keys() == {FROZEN, ADAPTED}
    for number, kind in enumerate((FROZEN, ADAPTED)):
        head, *rows = found[kind]
        assert head == ["masks of", *LANGUAGES, "mean difference %"]
        for source, row in zip(LANGUAGES, rows, strict=True):
            relative = {t: 100 * (OTHERS[source, t][number] / OWN[t] - 1) for t in LANGUAGES if t != source}
            cells = {t: f"{10 * OTHERS[source, t][number]:.1f} ({relative[t]:+.1f})" for t in relative}
            cells[source] = f"**{10 * OWN[source]:.1f}**"
            mean = sum(relative.values()) / len(relative)
            assert row == [source, *(cells[t] for t in LANGUAGES), f"{mean:+.1f}"]


def test_lines_of_the_control(runs):
    """Frozen masks of en: +25 % in es and +20 % in fr. The other foreign masks there: +50 % of fr and +40 % of es."""
    frozen, adapted = matrices(runs, page())
    assert frozen.control_lines("en") == [
        "en first: +22.5 % relative to the own masks, mean over es, fr",
        "masks of other foreign languages there: +45.0 %. Those of en are the best foreign ones in 2 of 2: es, fr",
    ]
    assert adapted.control_lines("en")[1].endswith("the best foreign ones in 1 of 2: es")
    assert frozen.control_lines("ru") == []


def test_missing_pairs(runs):
    kept = [run for run in runs if run.info["method"] != "from_es_frozen" and run.path.name != "from_en_frozen_fr"]
    table = matrices(kept, page())[0].table(LANGUAGES)
    assert table[2] == ["es", "–", "**40.0**", "–", "–"] and table[1][3] == "–" and table[1][2] == "50.0 (+25.0)"


def test_page_is_made_again_and_the_heat_map_is_written(runs, tmp_path):
    made = tmp_path / "RESULTS.md"
    report(page(), runs, tmp_path / "exp/results.tsv", made, "./run.sh --transfer")
    text = made.read_text("utf-8")
    assert "frozen masks of other languages, sparsity 0.1" in text and "|es|40.0 (+100.0)|**40.0**|" in text
    assert "es with frozen masks of en vs own masks: +25.0 % relative CER [+25.0, +25.0] worse" in text
    assert (tmp_path / "exp/transfer_s0.1.png").read_bytes().startswith(b"\x89PNG")
    shutil.rmtree(tmp_path / "exp")
    made.unlink()
    assert main([str(tmp_path)]) == 0 and made.read_text("utf-8") == text


def test_heat_map_without_differences(tmp_path):
    """Nothing is better or worse: the scale has a width all the same."""
    draw_heat_maps({"frozen": {("a", "b"): 0.0}}, ["a", "b"], tmp_path / "map.png", title="t")
    assert (tmp_path / "map.png").stat().st_size > 1000
