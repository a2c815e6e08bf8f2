"""asterisk/slu1 with two tasks: in one run, and one after the other, as its run.sh calls them."""

import pytest

from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.tasks.__main__ import SEPARATOR, groups_of
from espnet_s3router.files import read_yaml
from tests.recipes.understanding.test_asterisk import OWN_DATA, write_data

pytestmark = pytest.mark.filterwarnings("ignore")  # of ESPnet and s3prl, in this process

SLU1 = "asterisk/slu1"
ROWS = ("own_masks", "one_mask", "own_masks_weights")


def options_of(command):
    return Options.read(command[command.index("--options") + 1])


def named(made, module):
    return [command for command in made if command[1] == module]


def test_both_tasks_in_one_run(finished):
    """Every recording is in training once for each task. Each task is decoded with its own head, and scored as its task."""
    run = finished(SLU1, "--joint", *OWN_DATA, "--methods", " ".join(ROWS), prepare=write_data)
    assert (run.here / "dump/raw/intents.txt").read_text("utf-8").split() == ["CONF", "DIR", "VM"]
    references = run.references("mytest_asr_slu")
    assert references["mytest-0-asr"] == "you have mail" and references["mytest-0-slu"] == "VM"
    folders = {row: run.exp / f"asr_asr_slu_{row}_s0.1_seed0" for row in ROWS}
    for row, folder in folders.items():
        confs = [read_yaml(folder / f"languages/{task}_valid.cer_ctc.ave/config.yaml") for task in ("asr", "slu")]
        assert confs[0] == confs[1] and confs[0]["frontend_conf"]["mask_conf"]["method"] == "routing"
        parts = (folder / "decode_ctc/mytest_asr_slu/logdir").glob("*/keys")
        tasks = [{line.split()[0].rpartition("-")[2] for line in part.read_text("utf-8").splitlines()} for part in parts]
        assert sorted(tasks, key=min) == [{"asr"}, {"slu"}]
        scored = (folder / "decode_ctc/mytest_asr_slu/score_accuracy/result.txt").read_text("utf-8")
        assert "of 4 utterances" in scored.splitlines()[0], row
    metrics = {metric for name, metric in run.rows() if name == "mytest_asr_slu"}
    assert {"accuracy", "cer", "wer", "macro_f1"} <= metrics
    counted = [run.rows()["mytest_asr_slu", f"wer_{kind}"] for kind in ("hits", "substitutions", "deletions")]
    assert sum(counted) == 3 + 3 + 3 + 1
    assert "ACCURACY test %" in run.printed and "CER test %" in run.printed and "by language" not in run.printed


def test_the_commands_of_a_joint_run(commands):
    made = commands(SLU1, "--joint")
    datasets = [f"{name}_families" for name in ("dev", "test", "train")]
    tasks = [command[2:] for command in made if "tasks" in command]
    assert tasks == [["tasks", f"data/{name}", f"data/{name}_asr_slu", "--tasks", "asr", "slu"] for name in datasets]
    prepared = [command[1] for command in made[:2]]
    assert prepared == ["local.asterisk", "local.whisper_tiny_en"]
    (intents,) = (command for command in made if "intents" in command)
    assert intents[-2:] == ["--category", "slu"] and "--alone" not in intents
    options = options_of(named(made, "espnet_s3router.experiments.grid")[-1])
    assert options.methods == ROWS and options.task == "asr_slu" and options.token_type == "char"
    assert options.test_sets == ("dev_families_asr_slu", "test_families_asr_slu") and not options.intent_alone
    assert [str(path).rpartition("/")[2] for path in options.methods_config] == [
        "methods.yaml", "tasks.yaml", "whisper_tiny_en.yaml"
    ]  # fmt: skip


@pytest.mark.parametrize("task", ["asr", "slu"])
def test_one_task_alone_as_a_control(commands, recipes, task):
    """Half of the updates of both tasks, by the same row."""
    made = commands(SLU1, "--joint", "--tasks", task, "--expdir", "an other")
    options = options_of(named(made, "espnet_s3router.experiments.grid")[-1])
    assert options.task == task and options.methods == ("own_masks",) and options.train_set == f"train_families_{task}"
    changes = read_yaml(recipes.here / options.methods_config[-1])["own_masks"]
    assert changes["frontend_conf"]["mask_conf"]["languages"] == [task]
    assert (changes["num_iters_per_epoch"], changes["scheduler_conf"]["max_steps"]) == (44, 880)


def test_the_commands_of_one_task_after_the_other(commands):
    words = ("--forgetting", "--transfer", "--transfer_kinds", "frozen", "--seeds", "0 1", "--stage", "11")
    made = commands(SLU1, *words)
    grids = [options_of(command) for command in named(made, "espnet_s3router.experiments.grid")]
    assert [(options.lang, options.expdir) for options in grids] == [("families", "exp"), ("en", "../asr1/exp")]
    assert all(options.methods == ("routing", "finetune") and options.seeds == (0, 1) for options in grids)
    (command,) = named(made, "espnet_s3router.experiments.tasks")
    at = command.index(SEPARATOR)
    assert command[2:at] == ["--expdir", "exp/tasks", "--parts", "forgetting", "frozen"]
    first, second = (Options.parse(group) for group in groups_of(command[at + 1 :], SEPARATOR))
    assert (first.route_language, first.expdir, first.dumpdir) == ("transcript", "../asr1/exp", "dump")
    assert (second.route_language, second.expdir, second.dumpdir) == ("intent", "exp", "dump/intent")
    assert first.experiment_prefix == "asr_whisper_tiny_en" and second.experiment_prefix == "asr_whisper_tiny_en_intent"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--forgetting", "--train_set", "mine"), "--train_set is for one task, and there are two"),
        (("--transfer", "--langs", "es fr"), "expected en among them"),
        (("--forgetting", "--target", "transcript"), "--target is transcript, expected intent"),
        (("--joint", "--tasks", "slu asr"), "--tasks is 'slu asr', expected"),
        (("--task", "asr_slu"), "--intent_alone is true with --task asr_slu"),
    ],
)
def test_options_that_do_not_fit(recipes, options, message):
    recipes.recipe = SLU1
    done = recipes.run("./run.sh", *options, check=False)
    assert done.returncode == 2 and message in done.stderr, done.stderr
