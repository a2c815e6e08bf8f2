"""Pages made again from their counts files, byte for byte, when the experiment folders are gone."""

import gzip
import json
import shutil
from dataclasses import replace

import pytest
from toy_points import UTTERANCES, add_point, add_run, rows_of

from espnet_s3router.results.pages import grid, languages, sweep, upstreams
from espnet_s3router.results.pages.remake import main
from espnet_s3router.results.rows import put_rows
from espnet_s3router.results.scored_runs import collect_runs

PLACE = ("toy/asr1", "mini", "10min")


@pytest.fixture
def recipe(tmp_path):
    """A recipe's folder with experiments: two methods, one of them with two seeds."""
    add_run(tmp_path / "exp", "finetune", "finetune", 9)
    add_run(tmp_path / "exp", "finetune_2", "finetune", 7, seed=2)
    add_run(tmp_path / "exp", "routing", "routing", 2, sparsity=0.1)
    add_run(tmp_path / "exp", "omp", "omp", 4, sparsity=0.1)
    return tmp_path


def remade(recipe, capsys):
    """Compare the page after ``remake`` with the page before. Returns the page."""
    page = recipe / "RESULTS.md"
    before = page.read_bytes()
    shutil.rmtree(recipe / "exp")
    page.unlink()
    assert main([str(recipe)]) == 0
    assert page.read_bytes() == before
    return before.decode("utf-8")


def test_grid(recipe, capsys):
    page = grid.GridPage(dev=["dev"], test=["test"], unseen=UTTERANCES[3:], speakers=4)
    runs, numbers = collect_runs(recipe / "exp"), recipe / "exp/results.tsv"
    grid.report(page, runs, numbers, results_md=recipe / "RESULTS.md", command="./run.sh")
    text = remade(recipe, capsys)
    assert "test: 20 utterances of 4 speakers" in text and "(matched pairs, Holm), seed 1 (test)" in text


def test_sweep_with_rows_of_other_machines(recipe, capsys):
    rows = [replace(row, recipe="toy/asr1") for row in rows_of("rp", 0.1, 3)]
    put_rows(recipe / "results/committed.tsv", rows)
    runs = sweep.runs_of_sweep(recipe / "exp", PLACE, [], prefix="asr")
    choices = {"dev": ["dev"], "test": ["test"], "row_files": ["results/committed.tsv"], "speakers": 1}
    page = sweep.SweepPage(place=PLACE, methods=["omp"], failed={"asr_parp": "killed"}, **choices)
    sweep.report(page, runs, expdir=recipe / "exp", results_md=recipe / "RESULTS.md", command="./run.sh")
    text = remade(recipe, capsys)
    assert "interval; p: matched pairs; test: 20 utterances of 1 speaker" in text or "p: matched pairs, Holm" in text
    assert "|rp|" in text and "|omp vs dense|" in text and ", p " in text


def test_the_commands_of_all_runs_stay_on_the_page(recipe, capsys):
    """A page that several commands made lists all of them, also after it is made again."""
    add_run(recipe / "exp", "lora", "lora", 3, command="./run.sh --methods lora")
    add_run(recipe / "exp", "lora_2", "lora", 3, seed=2, command="./run.sh --methods lora --seeds 2")
    add_run(recipe / "exp", "bitfit", "bitfit", 3, command="./run.sh --methods lora")
    page, runs = grid.GridPage(dev=["dev"], test=["test"]), collect_runs(recipe / "exp")
    grid.report(page, runs, recipe / "exp/results.tsv", results_md=recipe / "RESULTS.md", command="./run.sh --stage 13")
    commands = "`./run.sh --methods lora`; `./run.sh --methods lora --seeds 2`; `./run.sh --stage 13`"
    assert f"\n- commands: {commands}\n" in remade(recipe, capsys)


def test_the_command_of_a_dense_model_of_another_recipe_names_that_recipe(recipe, capsys):
    add_run(recipe / "other", "finetune", "finetune", 9, recipe="toy/dense1", command="./run.sh --full", variant="dense")
    runs = sweep.runs_of_sweep(recipe / "exp", PLACE, [recipe / "other/finetune"], prefix="asr")
    page = sweep.SweepPage(place=PLACE, methods=["omp"], dev=["dev"], test=["test"])
    sweep.report(page, runs, expdir=recipe / "exp", results_md=recipe / "RESULTS.md", command="./run.sh")
    assert "\n- commands: `cd ../../toy/dense1 && ./run.sh --full`; `./run.sh`\n" in remade(recipe, capsys)


def test_upstreams(recipe, capsys):
    add_run(recipe / "exp", "other", "finetune", 12, upstream="large")
    words = ["--expdir", recipe / "exp", "--dev", "dev", "--test", "test", "--upstream", "large"]
    assert upstreams.main([str(word) for word in (*words, "--results_md", recipe / "RESULTS.md")]) == 0
    assert "finetune on large vs mini" in remade(recipe, capsys)


@pytest.fixture
def two_languages(tmp_path):
    """Runs of two methods in two languages; routing has a second seed in one of them."""
    for lang, errors in {"en": (1, 2), "es": (3, 5)}.items():
        place = {"sets": (f"dev_{lang}", f"test_{lang}"), "split": f"train_{lang}"}
        add_point(tmp_path / "exp", f"finetune_{lang}", "finetune", errors, **place)
        better = (errors[0] - 1, errors[1] - 1)
        add_point(tmp_path / "exp", f"routing_{lang}", "routing", better, sparsity=0.1, bytes_added=500, **place)
    add_point(tmp_path / "exp", "routing_es_2", "routing", (2, 4), sparsity=0.1, seed=2, **place)
    return tmp_path


class TestLanguages:
    PAIRS = ("en=dev_en,test_en", "es=dev_es,test_es")

    def test_page(self, two_languages, capsys):
        figures = {"accuracy": 0.5, "confusion": [["language", "en"], ["en", "100.0"]], "by_duration": [["s"], ["2"]]}
        (two_languages / "found.json").write_text(json.dumps(figures | {"judged": [1, 2]}))
        words = [*self.PAIRS, "--expdir", f"{two_languages / 'exp'}", "--results_md", f"{two_languages / 'RESULTS.md'}"]
        assert languages.main([*words, "--identified", str(two_languages / "found.json")]) == 0
        text = remade(two_languages, capsys)
        assert "|finetune|–|20.0|50.0|35.0|74.0 kB|1|" in text
        assert "|routing|0.1|10.0*|40.0*|25.0|1.00 kB|1,2|" in text
        assert "- routing vs finetune: -28.6 % relative CER" in text  # (1 + 4) / (2 + 5) of all errors, seed 1
        assert "(all languages)" in text and "- accuracy: 0.5" in text and "|en|100.0|" in text

    def test_bad_calls(self, two_languages, capsys):
        for pair, message in (
            ("en", "expected LANG=DEV,TEST"),
            ("nl=dev_nl,test_nl", "no run is scored on all of test_nl. Train these languages first"),
        ):
            assert languages.main([pair, "--expdir", str(two_languages / "exp")]) == 1
            assert message in capsys.readouterr().err
        add_point(two_languages / "exp", "more", "finetune", 1, sets=("dev_en", "test_en"), split="train_more_en")
        assert languages.main(["en=dev_en,test_en", "--expdir", str(two_languages / "exp")]) == 1
        assert "2 training sets have runs on one upstream" in capsys.readouterr().err

    def test_a_section_for_each_upstream(self, two_languages, capsys):
        for lang in ("en", "es"):
            place = {"sets": (f"dev_{lang}", f"test_{lang}"), "split": f"train_{lang}", "upstream": "large"}
            add_point(two_languages / "exp", f"large_{lang}", "routing", 0, sparsity=0.1, **place)
        assert languages.main([*self.PAIRS, "--expdir", str(two_languages / "exp")]) == 0
        printed = capsys.readouterr().out
        assert "all languages · large" in printed and "all languages · mini" in printed


def test_counts_file_has_no_date_of_its_own(recipe):
    """Equal results give equal bytes, whenever they were compressed."""
    page = grid.GridPage(dev=["dev"], test=["test"])
    for name in ("A", "B"):
        grid.report(page, collect_runs(recipe / "exp"), recipe / "exp/results.tsv", results_md=recipe / f"{name}.md")
    first, second = (json.loads(gzip.decompress((recipe / f"results/counts/{n}.json.gz").read_bytes())) for n in "AB")
    assert first["runs"] == second["runs"]
    assert (recipe / "results/counts/A.json.gz").read_bytes()[4:8] == bytes(4)  # the time in the header of gzip


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "its pages were made before counts were kept"),
        (b"not gzip", "RESULTS.json.gz: cannot be read as the counts of a page"),
        (gzip.compress(b"{}"), "cannot be read as the counts of a page"),
        (gzip.compress(b'{"kind": "Other", "page": {}, "environment": {}, "runs": []}'), "cannot be read as the counts"),
    ],
    ids=["missing", "not gzip", "empty", "other kind"],  # gzip's bytes hold the time
)
def test_missing_and_damaged_counts(tmp_path, capsys, content, expected):
    if content is not None:
        (tmp_path / "results/counts").mkdir(parents=True)
        (tmp_path / "results/counts/RESULTS.json.gz").write_bytes(content)
    assert main([str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and expected in error
