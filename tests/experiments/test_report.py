"""The command that makes the page of a grid."""

import shutil

import pytest
import yaml
from toy_points import add_grid, add_point

from espnet_s3router.errors import InputError
from espnet_s3router.experiments import report
from espnet_s3router.experiments.options import Options
from espnet_s3router.results.rows import read_rows
from espnet_s3router.results.scored_runs import collect_runs, systems

UPSTREAM = "{frontend: masked_upstream, frontend_conf: {frontend_conf: {upstream: mini}, mask_conf: {}}}"


@pytest.fixture
def expdir(tmp_path):
    return add_grid(tmp_path / "exp")


@pytest.fixture
def words(tmp_path):
    """words(**changes) -> the command line for the page of the grid in exp."""
    (config := tmp_path / "train.yaml").write_text(UPSTREAM, encoding="utf-8")
    given = {
        "recipe": "toy/asr1",
        "asr_config": (str(config),),
        "expdir": str(tmp_path / "exp"),
        "inference_tag": "inference",
    }
    given |= {"train_set": "10min", "valid_set": "dev", "test_sets": ("dev", "test"), "stage": 13}

    def make(**changes):
        Options(**(given | changes)).write(tmp_path / "options.yaml")
        return ["--options", str(tmp_path / "options.yaml")]

    return make


def test_best_rates_make_a_methods_file(tmp_path, words, capsys):
    """Best on dev, whatever they are on test."""
    for rate, errors in {1e-4: (3, 1), 1e-3: (2, 9)}.items():
        add_point(tmp_path / "exp", f"omp_{rate}", "omp", errors, lr=rate, variant=f"v{rate}", sparsity=0.5)
    assert report.main(words(best_rates=str(tmp_path / "rates.yaml"))) == 0
    assert yaml.safe_load((tmp_path / "rates.yaml").read_text()) == {"omp": {"optim_conf": {"lr": 0.001}}}


def test_main(expdir, tmp_path, words, capsys):
    unseen, plot, results = tmp_path / "unseen", expdir / "cer_against_sparsity.png", tmp_path / "RESULTS.md"
    unseen.write_text("u00 some text\nu01\n")
    (tmp_path / "dump/raw/test").mkdir(parents=True)
    (tmp_path / "dump/raw/test/utt2spk").write_text("u00 ann\nu01 ann\nu02 bob\n")
    files = {"unseen": str(unseen), "dumpdir": str(tmp_path / "dump"), "results_md": str(results)}
    arguments = words(**files, command="./run.sh --full")
    assert report.main(arguments) == 0
    out = capsys.readouterr().out
    assert "finetune vs head_only: -50.0 %" in out
    assert str(plot) in out and "test: 20 utterances of 2 speakers" in out
    assert "commit" not in out
    assert "- command: `./run.sh --full`" in results.read_text()
    assert plot.read_bytes().startswith(b"\x89PNG")
    rows, before = read_rows(expdir / "results.tsv"), results.read_bytes()
    assert {(r.set, r.metric) for r in rows} >= {("test", "cer"), ("test_unseen", "wer"), ("dev", "cer_hits")}
    report.main(arguments)
    assert read_rows(expdir / "results.tsv") == rows
    assert results.read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "expected"),
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
def test_spoilt_folders(expdir, words, capsys, spoil, expected):
    spoil(expdir)
    assert report.main(words()) == (0 if expected is None else 1)
    if expected is None:
        return
    error = capsys.readouterr().err
    assert error.startswith("error: ") and expected in error
    assert not (expdir / "results.tsv").exists()


def test_the_same_run_under_two_tags_is_there_once(expdir, words, capsys):
    """The first by name that is scored; ``systems`` by itself does not choose."""
    add_point(expdir, "again", "finetune", 1)
    (expdir / "a_is_not_decoded").mkdir()
    shutil.copy(expdir / "again/point.json", expdir / "a_is_not_decoded")
    with pytest.raises(InputError, match="same variant and seed"):
        systems(collect_runs(expdir))
    assert report.main(words()) == 0
    printed = capsys.readouterr().out
    for name in ("a_is_not_decoded", "finetune"):
        assert f"{expdir / name}: the same run as {expdir / 'again'}, left out" in printed
    rows = {row.method: row.value for row in read_rows(expdir / "results.tsv") if (row.set, row.metric) == ("test", "cer")}
    assert rows["finetune"] == 10


def test_only_the_place_of_the_grid_is_shown(expdir, tmp_path, words, capsys):
    """Rows of other upstreams stay in results.tsv."""
    add_point(expdir, "other", "finetune", 1, upstream="whisper")
    page = tmp_path / "RESULTS.md"
    for upstream, other in (("mini", "whisper"), ("whisper", "mini")):
        assert report.main(words(upstream=upstream, results_md=str(page))) == 0
        text = page.read_text("utf-8")
        assert f"## toy/asr1 · {upstream} · 10min" in text and f"· {other} ·" not in text
    assert {row.upstream for row in read_rows(expdir / "results.tsv")} == {"mini", "whisper"}
    capsys.readouterr()
    assert report.main(words(upstream="large")) == 1
    assert "no run of toy/asr1 · large · 10min; train first" in capsys.readouterr().err
