"""Scores of a dataset of two tasks, and the page of two tasks that are learned one after the other."""

import json

import pytest
from toy_points import UTTERANCES, add_point

from espnet_s3router.errors import InputError
from espnet_s3router.results.pages.remake import main as remake
from espnet_s3router.results.pages.tasks import TasksPage, report
from espnet_s3router.results.scored_runs import collect_runs
from espnet_s3router.results.understanding.scoring import score_tasks
from espnet_s3router.text_files import write_table

REFERENCES = {"a-asr": "you have mail", "a-slu": "VM", "b-asr": "hello", "b-slu": "CONF"}
TASK_OF = {key: key.rpartition("-")[2] for key in REFERENCES}


def scored(folder, hypotheses, references=REFERENCES, task_of=TASK_OF):
    write_table(folder / "ref", references)
    write_table(folder / "hyp", hypotheses)
    return score_tasks(folder / "ref", folder / "hyp", folder / "out", task_of)


def test_each_utterance_is_scored_as_its_task(tmp_path):
    """A transcript that is an intent, and an intent that is a transcript, are errors."""
    totals = scored(tmp_path, {"a-asr": "you have mails", "a-slu": "VM", "b-asr": "CONF", "b-slu": "hello"})
    assert {metric: (total.sentences, total.reference) for metric, total in totals.items()} == {
        "accuracy": (2, 2), "wer": (2, 4), "cer": (2, 18)
    }  # fmt: skip
    assert totals["accuracy"].rate == 50 and totals["wer"].rate == 50
    counts = json.loads((tmp_path / "out/counts.json").read_text("utf-8"))
    assert counts["accuracy"].keys() == {"a-slu", "b-slu"} and counts["cer"].keys() == {"a-asr", "b-asr"}
    assert json.loads((tmp_path / "out/measures.json").read_text("utf-8")) == {"macro_f1": 50.0}


def test_one_task_alone(tmp_path):
    references = {key: text for key, text in REFERENCES.items() if key.endswith("asr")}
    assert scored(tmp_path, references, references).keys() == {"wer", "cer"}
    assert not (tmp_path / "out/measures.json").exists()


def test_an_utterance_without_a_task(tmp_path):
    with pytest.raises(InputError, match="the task of b-slu is None, expected asr or slu"):
        scored(tmp_path, REFERENCES, task_of={key: task for key, task in TASK_OF.items() if key != "b-slu"})


def add_intents(expdir, name, method, wrong, **about):
    """A folder whose first ``wrong`` of 20 utterances have another intent."""
    add_point(expdir, name, method, 0, split="train_slu", sets=("dev_slu", "test_slu"), **about)
    counts = {key: [1, 0, 0, 0] if number >= wrong else [0, 1, 0, 0] for number, key in enumerate(UTTERANCES)}
    for dataset in ("dev_slu", "test_slu"):
        (expdir / name / "inference" / dataset / "counts.json").write_text(json.dumps({"accuracy": counts}))


@pytest.fixture
def runs(tmp_path):
    asr = {"split": "train_asr", "sets": ("dev_asr", "test_asr")}
    for seed in (0, 1):
        end = {"seed": seed}
        for name, method, errors in (
            ("own", "finetune", 2),
            ("again", "finetune_then_slu", 8),
            ("after", "finetune_after_slu", 1),
        ):
            add_point(tmp_path, f"asr_{name}{seed}", method, errors, **asr, **end)
        for name, method, errors in (
            ("own", "finetune", 4),
            ("again", "finetune_then_asr", 16),
            ("after", "finetune_after_asr", 5),
        ):
            add_intents(tmp_path, f"slu_{name}{seed}", method, errors, **end)
        for name, method in (("masks", "routing"), ("masks_again", "routing_then_{}"), ("frozen", "from_{}_frozen")):
            add_point(tmp_path, f"asr_{name}{seed}", method.format("slu"), 3, **asr, **end, sparsity=0.1)
            add_intents(
                tmp_path, f"slu_{name}{seed}", method.format("asr"), 10 if name == "frozen" else 5, **end, sparsity=0.1
            )
    return collect_runs(tmp_path)


def test_the_page(runs, tmp_path):
    changed = {run.path.name: 4096 if "masks" not in run.path.name else 0 for run in runs if "again" in run.path.name}
    page = TasksPage(
        **{"dev": ["dev_asr", "dev_slu"], "test": ["test_asr", "test_slu"], "row": "routing", "weights_row": "finetune"},
        **{"control": "", "languages": {"asr": "train_asr", "slu": "train_slu"}, "changed": changed},
    )
    report(page, runs, tmp_path / "results.tsv", tmp_path / "RESULTS.md", "./run.sh --forgetting")
    text = (tmp_path / "RESULTS.md").read_text("utf-8")
    for row in (
        "|finetune|–|asr, then slu|CER|20.0 [20.0, 20.0]|80.0 [80.0, 80.0]|+300.0|4.10 kB|",
        "|finetune|–|slu, then asr|ACCURACY|80.0 [60.0, 95.0]|20.0 [5.0, 40.0]|+300.0|4.10 kB|",
        "|routing|0.1|asr, then slu|CER|30.0 [30.0, 30.0]|30.0 [30.0, 30.0]|+0.0|0 B|",
        "|finetune|asr after slu|CER|20.0 [20.0, 20.0]|10.0 [10.0, 10.0]|-50.0|",
        "|asr|**30.0**|50.0 (+100.0)|+100.0|",
        "|slu|30.0 (+0.0)|**75.0**|+0.0|",
    ):
        assert row in text, text
    assert "slu after asr by finetune vs before: +300.0 % relative intent errors" in text
    assert "asr after slu by routing vs before: +0.0 % relative CER [+0.0, +0.0] at most 5 % worse" in text
    assert remake([str(tmp_path)]) == 0 and (tmp_path / "RESULTS.md").read_text("utf-8") == text
