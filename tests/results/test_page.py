"""From experiment folders to table, comparisons, RESULTS.md, results.tsv and plot."""

import shutil

import pytest
import yaml
from toy_points import UTTERANCES, add_point

from espnet_s3router.errors import InputError
from espnet_s3router.results import page as table
from espnet_s3router.results.bootstrap import Difference
from espnet_s3router.results.page import of_seeds
from espnet_s3router.results.rows import read_rows
from espnet_s3router.results.systems import choose, collect, compare, systems

ABOUT = {"date": "today", "command": "./run.sh"}


@pytest.fixture
def expdir(tmp_path):
    exp = tmp_path / "exp"
    add_point(exp, "finetune", "finetune", 2)
    add_point(exp, "head_only", "head_only", 4)
    add_point(exp, "routing_04", "routing", (3, 1), sparsity=0.04)  # best on test, not on dev
    add_point(exp, "routing_08", "routing", (2, 2), sparsity=0.08)
    return exp


def made(expdir, **options):
    return table.sections(collect(expdir), ["dev"], ["test"], **options)


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


def test_comparisons_use_what_dev_chose(expdir):
    (section,) = made(expdir)
    assert section.comparisons[:3] == [
        "finetune vs head_only: -50.0 % relative CER [-50.0, -50.0] better (test)",
        "routing 0.08 vs head_only: -50.0 % relative CER [-50.0, -50.0] better (test)",
        "routing 0.08 vs finetune: +0.0 % relative CER [+0.0, +0.0] at most 5 % worse (test)",
    ]


def test_comparison_line():
    line = table.comparison_line("finetune", "head_only", "cer", Difference(-0.3124, -0.361, -0.26))
    assert line == "finetune vs head_only: -31.2 % relative CER [-36.1, -26.0] better"


def test_choice_looks_at_the_seeds_all_variants_have(expdir):
    add_point(expdir, "routing_08_s2", "routing", 9, sparsity=0.08, seed=2)
    chosen = choose(systems(collect(expdir)), ["dev"])
    assert [(s.info["method"], s.info["sparsity"], s.seeds) for s in chosen] == [
        ("head_only", None, (1,)),
        ("finetune", None, (1,)),
        ("routing", 0.08, (1, 2)),
    ]


def test_compare_on_shared_seeds_else_unpaired(expdir):
    add_point(expdir, "finetune_s2", "finetune", 8, seed=2)
    head, finetune, *_ = systems(collect(expdir))
    assert compare(finetune, head, ["test"], "cer").value == -0.5  # seed 1 alone
    assert of_seeds(finetune, head) == ", seed 1" and of_seeds(head, head) == ""
    add_point(expdir, "lora_s3", "lora", 4, seed=3)
    lora = next(s for s in systems(collect(expdir)) if s.info["method"] == "lora")
    assert compare(finetune, lora, ["test"], "cer").value == pytest.approx(0.25)  # (2 + 8) / 2 against 4
    assert of_seeds(finetune, lora) == ", seeds 1, 2 against seed 3"
    assert compare(finetune, lora, ["none"], "cer") is None
    add_point(expdir, "perfect", "perfect", 0)
    perfect = next(s for s in systems(collect(expdir)) if s.info["method"] == "perfect")
    assert compare(finetune, perfect, ["test"], "cer") is None
    assert compare(perfect, finetune, ["test"], "cer").value == -1


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
    rows = [row for point in collect(expdir) for row in point.rows(UTTERANCES[1:])]
    rates = {(r.method, r.set): r.value for r in rows if r.metric == "cer"}
    assert rates["finetune", "test"] == pytest.approx(24)
    assert rates["finetune", "test_unseen"] == 20


def test_sets_are_pooled(expdir):
    (section,) = table.sections(collect(expdir), ["dev"], ["dev", "test"])
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
    assert [section.place[1] for section in made(expdir)] == ["mini", "whisper"]


def test_learning_rates_are_told_apart(expdir):
    add_point(expdir, "finetune_lr", "finetune", 3, lr=1e-4, variant="other")
    (section,) = made(expdir)
    assert sorted(section.labels.values()) == [
        *("finetune lr 0.0001", "finetune lr 0.001"),
        *("head_only", "routing", "routing"),
    ]


def test_best_rates_make_a_methods_file(tmp_path, capsys):
    """Best on dev, whatever they are on test; of the place that is asked for."""
    for rate, errors in {1e-4: (3, 1), 1e-3: (2, 9)}.items():
        add_point(tmp_path / "exp", f"omp_{rate}", "omp", errors, lr=rate, variant=f"v{rate}", sparsity=0.5)
    words = ["--expdir", tmp_path / "exp", "--dev", "dev", "--test", "test", "--best_rates", tmp_path / "rates.yaml"]
    table.main([str(word) for word in words])
    assert yaml.safe_load((tmp_path / "rates.yaml").read_text()) == {"omp": {"optim_conf": {"lr": 0.001}}}


def test_results_md(expdir):
    text = table.results_md(made(expdir), ABOUT)
    assert text == table.results_md(made(expdir), ABOUT)
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
    assert table.write_results_md(path, made(expdir), ABOUT)
    assert not table.write_results_md(path, made(expdir), ABOUT | {"date": "tomorrow"})
    assert "today" in path.read_text()
    add_point(expdir, "lora", "lora", 3)
    assert table.write_results_md(path, made(expdir), ABOUT | {"date": "tomorrow"})
    assert "tomorrow" in path.read_text()


def test_main(expdir, tmp_path, capsys):
    unseen, plot, results = tmp_path / "unseen", tmp_path / "cer.png", tmp_path / "RESULTS.md"
    unseen.write_text("u00 some text\nu01\n")
    options = {"--expdir": expdir, "--dev": "dev", "--test": "test", "--unseen": unseen}
    options |= {"--plot": plot, "--results_md": results, "--command": "./run.sh --full"}
    arguments = [str(word) for pair in options.items() for word in pair]
    table.main(arguments)
    out = capsys.readouterr().out
    assert "finetune vs head_only: -50.0 %" in out
    assert str(plot) in out
    assert "commit" not in out
    assert "- command: `./run.sh --full`" in results.read_text()
    assert plot.read_bytes().startswith(b"\x89PNG")
    rows, before = read_rows(expdir / "results.tsv"), results.read_bytes()
    assert {(r.set, r.metric) for r in rows} >= {("test", "cer"), ("test_unseen", "wer"), ("dev", "cer_hits")}
    table.main(arguments)
    assert read_rows(expdir / "results.tsv") == rows
    assert results.read_bytes() == before


def test_plot_without_sparsities_and_for_two_upstreams(tmp_path):
    exp, plot = tmp_path / "exp", tmp_path / "plots" / "cer.png"
    add_point(exp, "a", "head_only", 4)
    add_point(exp, "b", "head_only", 4, upstream="org/whisper")
    written = table.plot_sections(made(exp), plot, ["dev"], ["test"])
    assert [path.name for path in written] == ["cer.png", "cer_toy_asr1_org_whisper_10min.png"]
    assert sorted(plot.parent.iterdir()) == sorted(written)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda exp: add_point(exp, "bad", "lora", 1, sparsity=1.5), "sparsity"),
        (lambda exp: (exp / "finetune" / "point.json").write_text("{}"), "lacks recipe"),
        (lambda exp: (exp / "finetune" / "point.json").write_text("{"), "not JSON"),
        (lambda exp: (exp / "finetune" / "inference" / "test" / "counts.json").write_text("{"), "not JSON"),
        (
            lambda exp: [(exp / n / "point.json").unlink() for n in ("finetune", "head_only", "routing_04")],
            None,
        ),
    ],
)
def test_spoilt_folders(expdir, capsys, spoil, told):
    spoil(expdir)
    arguments = ["--expdir", str(expdir), "--dev", "dev", "--test", "test"]
    assert table.main(arguments) == (0 if told is None else 1)
    if told is None:
        return
    error = capsys.readouterr().err
    assert error.startswith("error: ") and told in error
    assert not (expdir / "results.tsv").exists()


def test_the_same_run_under_two_tags_is_there_once(expdir, capsys):
    """The first by name that is scored; ``systems`` by itself does not choose."""
    add_point(expdir, "again", "finetune", 1)
    (expdir / "a_is_not_decoded").mkdir()
    shutil.copy(expdir / "again/point.json", expdir / "a_is_not_decoded")
    with pytest.raises(InputError, match="same variant and seed"):
        systems(collect(expdir))
    assert table.main(["--expdir", str(expdir), "--dev", "dev", "--test", "test"]) in (0, None)
    told = capsys.readouterr().out
    for name in ("a_is_not_decoded", "finetune"):
        assert f"{expdir / name}: the same run as {expdir / 'again'}, left out" in told
    rows = {row.method: row.value for row in read_rows(expdir / "results.tsv") if (row.set, row.metric) == ("test", "cer")}
    assert rows["finetune"] == 10


def test_only_the_place_of_a_run_is_told(expdir, tmp_path, capsys):
    """Rows of other upstreams stay in results.tsv."""
    add_point(expdir, "other", "finetune", 1, upstream="whisper")
    (config := tmp_path / "train.yaml").write_text(
        "{frontend: masked_upstream, frontend_conf: {frontend_conf: {upstream: mini}, mask_conf: {}}}", encoding="utf-8"
    )
    page = tmp_path / "RESULTS.md"
    words = ["--expdir", str(expdir), "--dev", "dev", "--test", "test", "--results_md", str(page)]
    grid = ["--grid", *("--recipe", "toy/asr1", "--asr_config", str(config), "--train_set", "10min", "--valid_set", "dev")]
    grid += ["--test_sets", "dev", "test", "--stats_dir", "s", "--token_list", "l", "--upstream"]
    for upstream, other in (("mini", "whisper"), ("whisper", "mini")):
        assert not table.main([*words, *grid, upstream])
        text = page.read_text("utf-8")
        assert f"## toy/asr1 · {upstream} · 10min" in text and f"· {other} ·" not in text
    assert {row.upstream for row in read_rows(expdir / "results.tsv")} == {"mini", "whisper"}
    capsys.readouterr()
    assert table.main([*words, *grid, "large"]) == 1
    assert "no point of toy/asr1 · large · 10min; train first" in capsys.readouterr().err


def test_two_decodings_need_a_tag(expdir):
    (expdir / "finetune" / "beam" / "test").mkdir(parents=True)
    source = expdir / "finetune" / "inference" / "test" / "counts.json"
    (expdir / "finetune" / "beam" / "test" / "counts.json").write_text(source.read_text())
    with pytest.raises(InputError, match="inference and beam|beam and inference"):
        collect(expdir)
    assert len(collect(expdir, "inference")) == 4


def test_empty_folder(tmp_path):
    with pytest.raises(InputError, match="no folder with a point.json"):
        collect(tmp_path)
