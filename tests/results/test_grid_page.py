"""The page of a grid: tables, comparisons and plot, from experiment folders."""

import json

import pytest
from toy_points import UTTERANCES, add_grid, add_point

from espnet_s3router.errors import InputError
from espnet_s3router.results.pages import grid
from espnet_s3router.results.pages.document import write_page
from espnet_s3router.results.pages.grid import GridPage, grid_results
from espnet_s3router.results.scored_runs import collect_runs

ABOUT = {"date": "today", "command": "./run.sh"}


@pytest.fixture
def expdir(tmp_path):
    return add_grid(tmp_path / "exp")


def page(**changes):
    return GridPage(**({"dev": ["dev"], "test": ["test"]} | changes))


def made(expdir, **changes):
    return [results.section for results in grid_results(collect_runs(expdir), page(**changes))]


def test_rows_of_the_table(expdir):
    (section,) = made(expdir)
    (rows,) = section.tables.values()
    cells = [[cell.split(" [")[0] for cell in row] for row in rows[1:]]
    costs = ["1.23 M", "37.0 kB", "1 min 15 s", "1", "1a2b3c4"]
    assert cells == [
        ["*", "head_only", "–", "40.0", "40.0", "40.0", "40.0", *costs],
        ["*", "finetune", "–", "20.0", "20.0", "20.0", "20.0", *costs],
        ["", "routing", "0.04", "30.0", "10.0", "30.0", "10.0", *costs],
        ["*", "routing", "0.08", "20.0", "20.0", "20.0", "20.0", *costs],
    ]
    assert rows[1][3] == "40.0 [40.0, 40.0]"
    assert len(rows[0]) == len(rows[1])


def test_rates_by_language(expdir):
    """One column for each language, of the chosen systems; a single language has no table of its own."""
    (section,) = made(expdir, groups={"en": UTTERANCES[:5], "es": UTTERANCES[5:]})
    rows = section.tables["test by language"]
    assert rows[0][3:] == ["WER en %", "WER es %"] or rows[0][3:] == ["CER en %", "CER es %"]
    assert [row[3].split(" [")[0] for row in rows[1:]] == ["40.0", "20.0", "20.0"]
    (section,) = made(expdir, groups={"en": UTTERANCES})
    assert len(section.tables) == 1


def test_bytes_of_route_files(expdir):
    """A column of their own, where stage 17 wrote one: the mean of the seeds; bytes added are counted."""
    add_point(expdir, "routing_08_2", "routing", (2, 2), sparsity=0.08, seed=2)
    for name, size in {"routing_08": 20000, "routing_08_2": 24000}.items():
        report = {"route": "nl.route", "bytes": size, "bytes_masks": 100}
        (expdir / name / "route.json").write_text(json.dumps(report))
        (expdir / name / "nl.route").touch()
    (expdir / "finetune" / "route.json").write_text(json.dumps({"no_route": "it changes weights of the base"}))
    (section,) = made(expdir)
    ((caption, rows),) = section.tables.items()
    column = rows[0].index("route file")
    assert {row[1] + row[2]: row[column] for row in rows[1:]} == {
        "head_only–": "–",
        "finetune–": "–",
        "routing0.04": "–",
        "routing0.08": "22.0 kB",
    }
    assert "route file: bytes of the file" in caption and rows[0][column - 1] == "bytes added"
    assert len({len(row) for row in rows}) == 1


def test_comparisons_use_what_dev_chose(expdir):
    (section,) = made(expdir)
    assert section.comparisons[:3] == [
        "finetune vs head_only: -50.0 % relative CER [-50.0, -50.0] better (test)",
        "routing 0.08 vs head_only: -50.0 % relative CER [-50.0, -50.0] better (test)",
        "routing 0.08 vs finetune: +0.0 % relative CER [+0.0, +0.0] at most 5 % worse (test)",
    ]


def test_different_references_are_not_compared(expdir):
    path = expdir / "finetune" / "inference" / "test" / "counts.json"
    path.write_text(path.read_text().replace('"u00": [8, 2, 0, 0]', '"u00": [8, 1, 0, 0]'))
    with pytest.raises(InputError, match="different references"):
        made(expdir)


def test_unseen_utterances(expdir):
    path = expdir / "finetune" / "inference" / "test" / "counts.json"
    path.write_text(path.read_text().replace('"u00": [8, 2, 0, 0]', '"u00": [0, 10, 0, 0]'))
    (section,) = made(expdir, unseen=UTTERANCES[1:])
    whole, unseen = section.tables.items()
    assert whole[1][2][4].startswith("24.0")
    assert unseen[1][2][3] == "20.0 [20.0, 20.0]"
    assert "19 of 20" in unseen[0]
    assert any("unseen" in line for line in section.comparisons)
    rows = [row for point in collect_runs(expdir) for row in point.rows(UTTERANCES[1:])]
    rates = {(r.method, r.set): r.value for r in rows if r.metric == "cer"}
    assert rates["finetune", "test"] == pytest.approx(24)
    assert rates["finetune", "test_unseen"] == 20


def test_sets_are_pooled(expdir):
    (section,) = made(expdir, test=["dev", "test"])
    (rows,) = section.tables.values()
    assert rows[3][4].startswith("20.0 [")  # (30 + 10) / 2


def test_what_is_not_decoded_is_a_dash(expdir):
    add_point(expdir, "routing_16", "routing", 5, sparsity=0.16, sets=("dev",))
    (section,) = made(expdir)
    (rows,) = section.tables.values()
    assert rows[-1][3].startswith("50.0")
    assert rows[-1][4] == "–"


def test_upstreams_are_kept_apart(expdir):
    add_point(expdir, "other", "finetune", 1, upstream="whisper")
    assert [section.title[1] for section in made(expdir)] == ["mini", "whisper"]


def test_labels_name_learning_rates_that_differ(expdir):
    add_point(expdir, "finetune_lr", "finetune", 3, lr=1e-4, variant="other")
    (results,) = grid_results(collect_runs(expdir), page())
    assert sorted(results.labels.values()) == [
        *("finetune lr 0.0001", "finetune lr 0.001"),
        *("head_only", "routing", "routing"),
    ]


def test_size_of_the_test_set_is_in_the_caption(expdir):
    for speakers, ending in ((1, "; test: 20 utterances of 1 speaker"), (3, "; test: 20 utterances of 3 speakers")):
        (section,) = made(expdir, speakers=speakers)
        assert next(iter(section.tables)).endswith(ending)


def test_results_md(expdir):
    text = page().text(collect_runs(expdir), ABOUT, expdir)
    assert text == page().text(collect_runs(expdir), ABOUT, expdir)
    assert text.startswith("# RESULTS\n## Environments\n- date: `today`\n- command: `./run.sh`\n\n## toy/asr1")
    assert (
        "\n## finetune\n\n### WER\n\n|dataset|Snt|Wrd|Corr|Sub|Del|Ins|Err|S.Err|\n"
        "|---|---|---|---|---|---|---|---|---|\n"
        "|inference/dev|20|200|80.0|20.0|0.0|0.0|20.0|100.0|\n"
    ) in text
    assert "## routing_08\n" in text
    assert "## routing_04\n" not in text


def test_results_md_is_rewritten_only_for_new_results(expdir, tmp_path):
    path = tmp_path / "RESULTS.md"

    def write(**changes):
        runs, about = collect_runs(expdir), ABOUT | changes
        return write_page(path, page().text(runs, about, tmp_path), page(), runs, about)

    assert write()
    assert not write(date="tomorrow")
    assert "today" in path.read_text()
    add_point(expdir, "lora", "lora", 3)
    assert write(date="tomorrow")
    assert "tomorrow" in path.read_text()
    (tmp_path / "results/counts/RESULTS.json.gz").unlink()
    assert write(date="later")


def test_plot_without_sparsities_and_for_two_upstreams(tmp_path):
    exp, plots = tmp_path / "exp", tmp_path / "plots"
    add_point(exp, "a", "head_only", 4)
    add_point(exp, "b", "head_only", 4, upstream="org/whisper")
    written = grid.plot(grid_results(collect_runs(exp), page()), plots, page())
    first = "cer_against_sparsity"
    assert [path.name for path in written] == [f"{first}.png", f"{first}_toy_asr1_org_whisper_10min.png"]
    assert sorted(plots.iterdir()) == sorted(written)


@pytest.fixture
def phones(expdir):
    """The grid, scored on phones: the counts and alignments of the words are those of phones."""
    for file in expdir.glob("*/inference/*/counts.json"):
        counts = json.loads(file.read_text())
        file.write_text(json.dumps({"per": counts["wer"]}))
        steps = {key: "C" * hits + "S" * wrong for key, (hits, wrong, _, _) in counts["wer"].items()}
        file.with_name("word_alignments.json").write_text(json.dumps(steps))
    return expdir


def test_a_page_of_phones_shows_the_phone_error_rate_alone(phones, tmp_path):
    (section,) = made(phones, corpus="cv-corpus-17.0-2024-03-15")
    (caption,) = section.tables
    assert "lowest PER on dev" in caption and caption.endswith("; cv-corpus-17.0-2024-03-15")
    (rows,) = section.tables.values()
    assert rows[0][3:5] == ["PER dev %", "PER test %"] and not [
        head for head in rows[0] if "ER" in head[:3] and "PER" not in head
    ]
    assert [row[:3] for row in rows[1:] if row[0]] == [
        ["*", "head_only", "–"],
        ["*", "finetune", "–"],
        ["*", "routing", "0.08"],
    ]
    assert section.comparisons[0].startswith("finetune vs head_only: -50.0 % relative PER [-50.0, -50.0] better, p ")
    assert "### PER" in section.appendix
    (path,) = grid.plot(grid_results(collect_runs(phones), page()), tmp_path, page())
    assert path.name == "per_against_sparsity.png"


def test_phone_alignments_that_do_not_fit_are_refused(phones):
    file = phones / "finetune/inference/test/word_alignments.json"
    file.write_text(file.read_text().replace("S", "C", 1))
    with pytest.raises(InputError, match="does not fit counts.json"):
        collect_runs(phones)
