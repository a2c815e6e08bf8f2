"""Two tasks on the same recordings, with two updates per run: one after the other, and the masks of one on the other."""

import dataclasses
import json
import shutil

import pytest
import torch

from espnet_s3router.experiments import grid
from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.tasks import __main__ as tasks
from espnet_s3router.files import read_yaml
from espnet_s3router.results.pages.remake import main as remake
from espnet_s3router.results.rows import read_rows
from tests.recipes.conftest import as_words, call
from tests.recipes.test_transfer import words_of

pytestmark = pytest.mark.filterwarnings("ignore")  # of ESPnet and s3prl, in this process

MODEL = "valid.cer_ctc.ave.pth"
ARGS = "max_epoch=1 num_iters_per_epoch=2"
DECODED = {"transcript": "decode/test/text", "intent": "decode/test_intent/text"}


@pytest.fixture(scope="module")
def both(prepared_recipes, tmp_path_factory):
    """(options of the two tasks, the folder of their experiments): transcripts, and whether one begins with a or b."""
    expdir, here = tmp_path_factory.mktemp("tasks"), prepared_recipes.here
    raw = tmp_path_factory.mktemp("intents") / "raw"
    for name in ("train", "dev", "test"):
        shutil.copytree(here / "dump/raw" / name, raw / f"{name}_intent", symlinks=True)
        lines = (raw / f"{name}_intent/text").read_text("utf-8").splitlines()
        texts = "".join(f"{key} {'EARLY' if text[0] in 'ab' else 'LATE'}\n" for key, text, *_ in map(str.split, lines))
        (raw / f"{name}_intent/text").write_text(texts, encoding="utf-8")
    (raw / "whole").symlink_to(".")
    (raw / "intents.txt").write_text("EARLY\nLATE\n", encoding="utf-8")
    for folder, tokens in (("char", None), ("word_intent", "<blank>\n<unk>\nEARLY\nLATE\n<sos/eos>\n")):
        target = here / f"data/tasks_token_list/{folder}"
        if tokens is None:
            shutil.copytree(here / "data/noinfo_token_list/char", target)
        else:
            target.mkdir(parents=True)
            (target / "tokens.txt").write_text(tokens, encoding="utf-8")
    common = {"asr_args": ARGS, "parallel": 1, "stage": 10, "asr_stats_dir": None, "lang": "tasks"}
    common |= {"methods": "finetune routing", "inference_args": "--ctc_best_path true"}
    first = prepared_recipes.options(expdir / "asr", **common, route_language="transcript")
    config = f"{here}/conf/train_asr.yaml {here.parent}/slu1/conf/target/intent.yaml"
    changes = {"task": "slu", "intent_alone": "true", "token_type": "word", "dumpdir": raw.parent, "asr_config": config}
    changes |= {"train_set": "train_intent", "valid_set": "dev_intent", "test_sets": "dev_intent test_intent"}
    second = prepared_recipes.options(expdir / "slu", **common, **changes, asr_tag="intent", route_language="intent")
    return [first, second], expdir


@pytest.fixture(autouse=True)
def in_the_recipe(prepared_recipes, monkeypatch):
    monkeypatch.chdir(prepared_recipes.here)
    monkeypatch.setattr(tasks, "close_servers", lambda: None)


def command(expdir, options, *words):
    return ["--expdir", str(expdir / "tasks"), *words, *words_of(*options, separator="--router")]


def test_what_does_not_fit_is_said_before_training(both):
    options, expdir = both
    first, second = options
    done = call(tasks.main, command(expdir, options))
    assert done.returncode == 1 and not (expdir / "tasks").exists()
    assert "intent: " in done.stderr and "asr_intent_finetune_seed0 is not trained and scored" in done.stderr
    for changed, words, message in (
        ([first], (), "are transcript, expected two or more"),
        (
            [first, dataclasses.replace(first, route_language="third"), second],
            (),
            "are transcript third intent, expected two",
        ),
        ([first, dataclasses.replace(second, train_set="train")], (), "one training set, train, expected two"),
        (options, ("--weights", "routing"), "--weights is 'routing' with method routing"),
        (options, ("--row", "finetune"), "--row is 'finetune'"),
    ):
        done = call(tasks.main, command(expdir, changed, *words))
        assert done.returncode == 1 and message in done.stderr, done.stderr


def tensors(file):
    return torch.load(file, weights_only=True)


def test_one_task_after_the_other(both):
    options, expdir = both
    for one in options:
        done = call(grid.main, as_words(one))
        assert done.returncode == 0, done.stderr
    done = call(tasks.main, command(expdir, options, "--parts", "forgetting", "frozen"))
    assert done.returncode == 0, done.stderr
    made = expdir / "tasks"
    own = {"transcript": expdir / "asr/asr_{}_seed0", "intent": expdir / "slu/asr_intent_{}_seed0"}
    prefix = {"transcript": "asr", "intent": "asr_intent"}
    for first, second in (("transcript", "intent"), ("intent", "transcript")):
        before = own[first].with_name(own[first].name.format("finetune"))
        later = made / f"{prefix[second]}_finetune_after_{first}_seed0"
        again = made / f"{prefix[first]}_finetune_then_{second}_seed0"
        assert read_yaml(later / "config.yaml")["init_param"] == [f"{before / MODEL}:frontend:frontend"]
        states = {name: tensors(folder / MODEL) for name, folder in (("before", before), ("later", later), ("again", again))}
        for key, tensor in states["again"].items():  # the head of the first task, the weights of the second one
            assert torch.equal(tensor, states["later" if key.startswith("frontend.") else "before"][key]), key
        changes = json.loads((again / "changes.json").read_text("utf-8"))
        pairs = [(states["before"][key], states["later"][key]) for key in states["before"] if key.startswith("frontend.")]
        assert (
            changes["weights"] == sum(int((a != b).sum()) for a, b in pairs) > 0
            and changes["bytes"] == 4 * changes["weights"]
        )
        masked = own[first].with_name(own[first].name.format("routing_s0.1"))
        same = made / f"{prefix[first]}_routing_then_{second}_s0.1_seed0"
        assert json.loads((same / "changes.json").read_text("utf-8"))["weights"] == 0
        assert (same / DECODED[first]).read_text("utf-8") == (masked / DECODED[first]).read_text("utf-8")
        frozen = made / f"{prefix[first]}_from_{second}_frozen_s0.1_seed0"
        conf = read_yaml(frozen / "train.yaml")["frontend_conf"]["mask_conf"]
        theirs = own[second].with_name(own[second].name.format("routing_s0.1"))
        assert conf["method"] == "magnitude" and conf["initial_mask"] == str(theirs / MODEL)
        assert not (made / f"{prefix[first]}_from_{second}_adapted_s0.1_seed0").exists()
    metrics = {(row.method, row.split, row.metric) for row in read_rows(made / "results.tsv")}
    assert {("finetune_then_intent", "train", "cer"), ("finetune_then_transcript", "train_intent", "accuracy")} <= metrics
    page = (made / "RESULTS.md").read_text("utf-8")
    assert "|finetune|–|transcript, then intent|CER|" in page and "|routing|0.1|intent, then transcript|ACCURACY|" in page
    assert "CER of transcript, ACCURACY of intent on test in %, with the masks of the task" in page
    assert remake([str(made)]) == 0 and (made / "RESULTS.md").read_text("utf-8") == page
    again = call(tasks.main, command(expdir, options, "--parts", "forgetting", "frozen"))
    assert again.returncode == 0 and again.stdout.count("1 of 1 runs finished before") == 8


def test_a_first_run_that_was_trained_anew_is_refused(both):
    options, expdir = both
    file = expdir / "asr/asr_routing_s0.1_seed0" / MODEL
    content = file.read_bytes()
    torch.save(tensors(file) | {"ctc.ctc_lo.bias": torch.zeros(9)}, file)
    try:
        done = call(tasks.main, command(expdir, options, "--parts", "forgetting"))
        assert done.returncode == 1
        assert "has changed since" in (expdir / "tasks/asr_routing_then_intent_s0.1_seed0/run.log").read_text("utf-8")
    finally:
        file.write_bytes(content)


def test_options_of_a_file_stay_options(both):
    """``words_of`` gives what a user would type; parsing it gives the same options."""
    options, _ = both
    for one in options:
        (words,) = tasks.groups_of(words_of(one, separator="--router")[1:], "--router")
        assert Options.parse(words) == one
