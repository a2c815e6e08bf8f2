"""ssl1 from recordings to a model with a card, in a recipe folder, as a user calls it."""

import json

import numpy as np
import pytest
import soundfile
import yaml

from tests.recipes.conftest import ROOT

COUNT, RATE = 120, 16000


@pytest.fixture
def ssl1(recipes):
    """The recipe with a folder data/mine of COUNT recordings of tones, and a configuration of a few thousand parameters."""
    recipes.recipe = "ssl/ssl1"
    rng = np.random.default_rng(0)
    mine = recipes.here / "data/mine"
    mine.mkdir(parents=True)
    for number in range(COUNT):
        pitch = np.repeat(rng.choice([200.0, 700.0, 2000.0], 12), RATE // 10)
        soundfile.write(mine / f"{number}.wav", 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / RATE), RATE, subtype="PCM_16")
    (mine / "wav.scp").write_text("".join(f"tone{number:03} data/mine/{number}.wav\n" for number in range(COUNT)))
    (mine / "LICENCE").write_text("mine\n")
    config = yaml.safe_load((recipes.here / "conf/hubert_mini.yaml").read_text())
    config["model"] |= {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config["model"] |= {"conv_dim": [8, 8, 8], "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    config["batch"] |= {"seconds": 4, "crop_seconds": 1}
    (recipes.here / "conf/tiny.yaml").write_text(yaml.safe_dump(config))
    return recipes


OWN = ("--local_data", "", "--data_dirs", "data/mine", "--held_out_dirs", "", "--phones", "", "--card_notes", "")
OWN += ("--config", "conf/tiny.yaml")
SMALL = ("--updates", "6 6 6", "--clusters", "8 8 10", "--layer", 1)


def test_own_recordings_become_an_upstream(ssl1):
    told = ssl1.run("./run.sh", *OWN, *SMALL, "--stop_stage", 5).stdout
    model = ssl1.here / "exp/hubert_mini"
    assert f"{COUNT} recordings" in told and "load it as hf_hubert_custom" in told
    assert json.loads((model / "config.json").read_text())["hidden_size"] == 16
    card = (model / "MODEL_CARD.md").read_text()
    assert "| mine | 2.4 |" in card and "Iteration 3 from the weights of hubert2" in card
    assert "Asterisk" not in card and "8.4 hours" not in card  # what the recipe's own recordings are
    assert (model / "licences/mine.txt").read_text() == "mine\n"
    assert (ssl1.here / "exp/curves.png").exists()
    before = (ssl1.here / "exp/hubert3/checkpoint.pth").stat().st_mtime_ns
    again = ssl1.run("./run.sh", *OWN, *SMALL, "--stop_stage", 5).stdout
    assert again.count("trained already") == 3
    assert (ssl1.here / "exp/hubert3/checkpoint.pth").stat().st_mtime_ns == before


def test_a_recording_to_evaluate_on_stops_it(ssl1):
    test_set = ssl1.here / "data/test"
    test_set.mkdir()
    (test_set / "wav.scp").write_text("another-name data/mine/7.wav\n")
    done = ssl1.run("./run.sh", *OWN, *SMALL, "--held_out_dirs", "data/test", "--stop_stage", 2, check=False)
    assert done.returncode != 0 and "tone007 (mine) is a recording to evaluate on" in done.stderr
    assert not (ssl1.here / "dump").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--update", "3"), "unknown option --update"),
        (("--updates", "3 4"), "as many numbers in both"),
        (("--clusters", "8 many"), "--clusters is '8 many', expected numbers"),
        (("--clusters", ""), "as many numbers in both"),
        (("--max_hours", "long"), "--max_hours is 'long'"),
        (("--config", "conf/no.yaml"), "no such file"),
        (("--layer", "x"), "--layer is 'x'"),
        (("--layer", "3"), "--layer is 3, and the model of conf/tiny.yaml has layers 1 to 2"),
        (("--layer", "0"), "--layer is 0, and the model"),
        (("--updates", "3 0 4"), "expected numbers from 1"),
        (("--clusters", "8 8 1"), "expected numbers from 2"),
        (("--card_notes", "conf/no.md"), "--card_notes is 'conf/no.md'"),
        (("--phones", "no/where"), "--phones is 'no/where'"),
        (("--ngpu", "2"), "pretraining uses one GPU"),
    ],
)
def test_bad_options_are_refused(ssl1, options, said):
    done = ssl1.run("./run.sh", *OWN, *options, check=False)
    assert done.returncode == 2 and said in done.stderr


EVALUATES = """#!/usr/bin/env bash
# Stands for a recipe of another corpus: notes how it was called, and leaves scored runs of all methods.
echo "$*" >>calls.txt
exec python3 - "$@" <<'END'
import argparse
from pathlib import Path
from toy_points import add_point
parser = argparse.ArgumentParser()
for name in ("expdir", "asr_tag", "methods", "upstream", "upstream_path"):
    parser.add_argument(f"--{name}", default="")
args, _ = parser.parse_known_args()
upstream = f"{args.upstream}/{Path(args.upstream_path).name}" if args.upstream_path else args.upstream
for method in args.methods.split():
    sets = ("dev_fr", "test_fr")
    errors = 3 if args.asr_tag == "new" else 6
    add_point(Path(args.expdir), f"asr_{args.asr_tag}_{method}", method, errors, sets=sets, upstream=upstream)
END
"""


def test_what_a_model_is_worth_on_another_corpus(ssl1, tmp_path):
    """Stage 6 with a recipe, sets and a folder of one's own; results of one model are not reported for another."""
    recipe, exp = tmp_path / "mine", tmp_path / "exp"
    for folder in (recipe, exp / "hubert_mini"):
        folder.mkdir(parents=True)
    (recipe / "run.sh").write_text(EVALUATES)
    (recipe / "run.sh").chmod(0o755)
    weights = exp / "hubert_mini/model.safetensors"
    weights.write_bytes(b"one model")
    command = ("./run.sh", *OWN, "--layer", 1, "--stage", 6, "--expdir", exp, "--results_md", exp / "RESULTS.md")
    command += ("--eval_recipe", recipe, "--eval_args", "--lang fr", "--eval_dev", "dev_fr", "--eval_test", "test_fr")
    path = f"{ROOT}:{ROOT / 'tests'}"
    ssl1.run(*command, PYTHONPATH=path)
    calls = (ssl1.here / "calls.txt").read_text().splitlines()
    assert len(calls) == 4 and all("--lang fr" in call and f"--expdir {exp}/downstream " in call for call in calls)
    assert all("--ngpu 0 --python python3 " in call for call in calls)
    assert f"--upstream_path {exp}/hubert_mini" in calls[0] and (exp / "random/model.safetensors").exists()
    page = (exp / "RESULTS.md").read_text("utf-8")
    assert "finetune on hf_hubert_custom/hubert_mini vs hf_whisper_custom/log_mel: -50.0 % relative CER" in page
    weights.write_bytes(b"another one")
    done = ssl1.run(*command, check=False, PYTHONPATH=path)
    assert done.returncode == 2 and "is about another model" in done.stderr
    assert (ssl1.here / "calls.txt").read_text().splitlines() == calls  # nothing was evaluated
