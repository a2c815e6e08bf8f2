"""The main recipe on recorded speech with two updates per run: ``run.sh`` as a user calls it, twice."""

import csv

import pytest
from structures import in_kind
from toy_audio import recorded_speech

from espnet_s3router.deploy.shrink import shrink
from tests.deploy.test_shrink import STYLES, TOLERANCE, difference, gated, states
from tests.recipes.conftest import MAIN_JOB, recordings_of

RUNS = {"head_only": "asr_head_only_seed0", "routing": "asr_routing_s0.1_seed0"}
SETS = ("train_10min_en", "dev_en", "test_en")


def keys(path):
    return {line.split()[0] for line in path.read_text("utf-8").splitlines()}


def page(printed):
    """The table and the comparisons."""
    return printed[printed.index("asterisk/asr1 ·") :]


def test_prints_a_table_and_leaves_numbers_and_plot(first_call):
    recipes, printed = first_call
    assert "0 of 2 runs finished before" in printed
    found = page(printed)
    for word in ("CER dev %", "CER test %", "WER dev %", "WER test %", "params trained", "bytes added", "train time", "["):
        assert word in found
    rows = [line.split()[:3] for line in found.splitlines() if line.startswith("*")]
    assert ["*", "head_only", "–"] in rows and ["*", "routing", "0.1"] in rows
    assert "plot: exp/cer_against_sparsity.png" in found
    assert (recipes.here / "exp/cer_against_sparsity.png").read_bytes().startswith(b"\x89PNG")


def test_rows_of_results(first_call):
    recipes, _ = first_call
    with (recipes.here / "exp/results.tsv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["metric"] == "cer"]
    assert {(row["method"], row["set"]) for row in rows} == {
        (method, name) for method in RUNS for name in ("dev_en", "test_en", "test_en_unseen")
    }
    for row in rows:
        assert row["recipe"] == "asterisk/asr1" and row["upstream"] == "s3router_hubert_mini"
        assert row["updates"] == "2" and float(row["value"]) > 0
    size = {row["method"]: int(row["bytes_added"]) for row in rows}
    trained = {row["method"]: int(row["params_trained"]) for row in rows}
    masks = size["routing"] - size["head_only"]
    assert 0 < masks == -(-(trained["routing"] - trained["head_only"]) // 8)  # one bit a score beside the same head


def test_nothing_of_dev_or_test_is_trained_on(first_call):
    recipes, _ = first_call
    data = {name: keys(recipes.here / "data" / name / "text") for name in SETS}
    assert all(data.values())
    assert not data["train_10min_en"] & (data["dev_en"] | data["test_en"]) and not data["dev_en"] & data["test_en"]
    seen = keys(
        recipes.here / "exp/asr_stats_raw_train_10min_en_char/train/speech_shape"
    )  # what ESPnet makes its batches from
    assert seen <= data["train_10min_en"]
    assert keys(recipes.here / "exp/asr_stats_raw_train_10min_en_char/valid/speech_shape") <= data["dev_en"]
    for name in RUNS.values():
        config = (recipes.here / "exp" / name / "config.yaml").read_text("utf-8")
        assert "dump/raw/train_10min_en/wav.scp" in config and "dump/raw/test_en" not in config


@pytest.mark.parametrize("kind", TOLERANCE, ids=str)
def test_smaller_models_on_recorded_speech(first_call, toy_upstreams, kind):
    """They give the outputs of the gated ones, in every family."""
    recipes, _ = first_call
    waves = recorded_speech(folder=recordings_of(recipes))
    assert len(waves) == 2 and len(waves[0]) != len(waves[1]) and all(float(wave.abs().max()) > 0.1 for wave in waves)
    for name in STYLES:
        attached, _ = gated(toy_upstreams[name], name)
        before = states(in_kind(attached.upstream, kind), waves)
        assert before[-1].dtype == kind and difference(before, states(shrink(attached), waves)) <= TOLERANCE[kind]


def test_the_second_call_has_nothing_to_do(first_call):
    recipes, printed = first_call
    files = [path for path in (recipes.here / "exp").rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files if path.suffix in (".pth", ".yaml", ".json", ".log")}
    again = recipes.run("./run.sh", *MAIN_JOB).stdout
    assert "2 of 2 runs finished before" in again
    assert page(again) == page(printed)
    assert {path: path.stat().st_mtime_ns for path in before} == before
