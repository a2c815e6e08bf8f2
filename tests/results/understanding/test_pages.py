"""Pages of sweeps, languages and upstreams with accuracy: it is shown, and errors are compared."""

import json

import pytest
from toy_points import UTTERANCES, add_point

from espnet_s3router.results.pages import sweep
from espnet_s3router.results.pages.languages import LanguagesPage
from espnet_s3router.results.pages.upstreams import UpstreamsPage
from espnet_s3router.results.scored_runs import best_run, choose, collect_runs, systems

PLACE = ("toy/slu1", "mini", "train")
ABOUT = {"date": "today", "command": "./run.sh", "Git hash": "1a2b3c4"}


def add(expdir, name, method, wrong, *, sets=("dev", "test"), **changes):
    """A folder in which the intents of the first ``wrong`` of twenty utterances are wrong; a number for each dataset."""
    add_point(expdir, name, method, 0, sets=sets, **{"recipe": "toy/slu1", "split": "train", **changes})
    for part, count in zip(sets, wrong, strict=True):
        counts = {key: [0, 1, 0, 0] if number < count else [1, 0, 0, 0] for number, key in enumerate(UTTERANCES)}
        (expdir / name / "inference" / part / "counts.json").write_text(json.dumps({"accuracy": counts}))


def test_a_sweep(tmp_path):
    add(tmp_path, "dense", "finetune", (4, 4))
    for name, variant, lr, wrong in (("omp_a", "a", 1e-3, (6, 2)), ("omp_b", "b", 1e-4, (5, 8))):
        add(tmp_path, name, "omp", wrong, sparsity=0.5, variant=variant, lr=lr)
    runs = sweep.runs_of_sweep(tmp_path, PLACE, (), prefix="asr", inference_tag="inference")
    page = sweep.SweepPage(
        place=PLACE, methods=["omp"], dev=["dev"], test=["test"], unseen=None, dense_variants=[], row_files=[], failed={}
    )
    sweep.report(page, runs, expdir=tmp_path, results_md=tmp_path / "RESULTS.md", command="./run.sh")
    text = (tmp_path / "RESULTS.md").read_text()
    assert "ACCURACY in % on test against sparsity" in text and "|finetune|80.0|" in text
    assert "|omp|–|60.0|" in text  # the rate that is best on dev, not on test
    assert "0.0001: 75.0**, 0.001: 70.0" in text  # accuracies on dev
    assert "relative difference of intent errors on test" in text and "|omp vs dense|+100.0 [" in text
    assert (tmp_path / "accuracy_against_sparsity_mini_train.png").is_file()


def test_the_best_run_has_the_highest_accuracy(tmp_path):
    for name, wrong in (("finetune", (4, 1)), ("routing", (2, 9))):
        add(tmp_path, name, name, wrong)
    runs = collect_runs(tmp_path)
    assert best_run(runs, ["dev"]).path.name == "routing"
    (chosen,) = choose(systems(runs), ["dev"], lambda variant: None)
    assert chosen.interval(["dev"], "accuracy").value == pytest.approx(0.9)


def test_languages(tmp_path):
    for lang in ("en", "es"):
        for method, wrong in (("finetune", 6), ("routing", 2)):
            about = {"sets": (f"dev_{lang}", f"test_{lang}"), "split": f"train_{lang}"}
            add(tmp_path, f"{lang}_{method}", method, (wrong, wrong), **about)
    page = LanguagesPage(dev=["dev_en", "dev_es"], test=["test_en", "test_es"], languages=["en", "es"])
    text = page.text(collect_runs(tmp_path), ABOUT, tmp_path)
    assert "ACCURACY % on the test set of each language; \\* the highest ACCURACY" in text
    assert "|90.0*|90.0*|90.0|" in text and "|70.0|70.0|70.0|" in text
    assert "% relative intent errors" in text


def test_upstreams(tmp_path):
    for upstream, wrong in (("mini", 3), ("large", 1)):
        add(tmp_path, upstream, "routing", (wrong, wrong), upstream=upstream)
    page = UpstreamsPage(dev=["dev"], test=["test"], upstream="mini")
    text = page.text(collect_runs(tmp_path), ABOUT, tmp_path)
    assert "ACCURACY test %" in text and "85.0 [" in text and "95.0 [" in text
    assert "routing on mini vs large: +200.0 % relative intent errors" in text
