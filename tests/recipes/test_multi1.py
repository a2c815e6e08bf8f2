"""Recipes of several languages: options that do not fit together, and the commands that a call leads to."""

import pytest

from espnet_s3router.experiments.grid import specs_of
from espnet_s3router.experiments.options import Options
from espnet_s3router.files import read_yaml

ASTERISK, COMMONVOICE, MBOSHI = "asterisk/multi1", "commonvoice/multi1", "mboshi/multi1"


@pytest.mark.parametrize("recipe", [ASTERISK, COMMONVOICE, MBOSHI])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--langs", ""), ["--langs is empty, expected languages"]),
        (("--langs", "es en fr es en"), ["--langs names en, es twice"]),
        (("--train_set", "mine"), ["--train_set is for one language, and there are"]),
        (("--local-data", ""), ["--local_data is for one language"]),
    ],
)
def test_options_that_do_not_fit_several_languages(recipes, recipe, options, words):
    recipes.recipe = recipe
    done = recipes.run("./run.sh", *options, check=False, COMMONVOICE="conf", MBOSHI=str(recipes.here))
    assert done.returncode == 2 and done.stdout == "" and all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize("recipe", [ASTERISK, COMMONVOICE])
def test_a_matrix_that_cannot_be_is_refused_before_training(recipes, recipe):
    recipes.recipe = recipe
    for options, word in (
        (("--langs", "es"), "--transfer needs two languages or more, and --langs is 'es'"),
        (("--methods", "finetune lora"), "--methods is 'finetune lora': add routing"),
    ):
        done = recipes.run("./run.sh", "--transfer", *options, check=False, COMMONVOICE="conf")
        assert done.returncode == 2 and done.stdout == "" and word in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("words", "matrix"),
    [
        (("--transfer",), True),
        (("--transfer", "true"), True),
        (("--transfer", "false", "--transfer", "--transfer"), True),
        (("--transfer", "false"), False),
        (("--transfer", "--stop_stage", "11"), False),
        ((), False),
    ],
)
def test_a_switch_stands_alone_or_before_true_or_false(commands, words, matrix):
    """The matrix of a call that ends before stage 13 is left to a later call."""
    made = commands(ASTERISK, "--langs", "en es", "--stage", "11", *words)
    assert any(command[1] == "espnet_s3router.experiments.transfer" for command in made) == matrix
    page = [command for command in made if command[1] == "espnet_s3router.results.pages.languages"]
    assert len(page) == ("11" not in words)


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ((), "exp/routes"),
        (("--model", "hubert_mini"), "exp/routes_hubert_mini"),
        (("--upstream", "hubert_local", "--upstream_path", "conf/own"), "exp/routes_own"),
        (("--model", "hubert_mini", "--routes_dir", "bank"), "bank"),
        (("--expdir", "exp 2"), "exp 2/routes"),
    ],
)
def test_routes_of_another_base_go_to_another_folder(commands, options, folder):
    """A folder of routes has one base, which stage 17 would only miss after training."""
    made = commands(ASTERISK, "--langs", "en", "--stage", "17", *options)
    (deploy,) = (command for command in made if command[1] == "espnet_s3router.experiments.deploy")
    assert read_yaml(deploy[deploy.index("--options") + 1])["routes_dir"] == folder


def test_the_page_is_that_of_the_decoding_of_the_call(commands):
    for options, tag in ((("--inference_config", "conf/beam.yaml"), "beam"), (("--inference_tag", "x"), "x")):
        made = commands(ASTERISK, "--langs", "en es", "--stage", "11", *options)
        (page,) = (command for command in made[-1:] if command[1] == "espnet_s3router.results.pages.languages")
        assert page[page.index("--inference_tag") + 1] == tag


def test_each_language_is_looked_for_once(commands):
    made = commands(COMMONVOICE, "--langs", "es fr", "--check_corpus", "true", COMMONVOICE="conf")
    assert [command[command.index("--lang") + 1] for command in made] == ["es", "fr"]
    assert all("--check_corpus" in command for command in made)


def test_mboshi_beside_two_languages(commands):
    """All routes go to one folder, and the interpreter of the call finds the languages."""
    options = ("--langs", "es en", "--model", "hubert_mini", "--stage", "17")
    made = commands(MBOSHI, *options, MBOSHI="/")
    (found,) = (command for command in made if command[1] == "espnet_s3router.cli.main")
    assert found[2:7] == ["identify", "--bank", "exp/routes_hubert_mini", "--same", "en,es"]
    datasets = [word for word in found if "=" in word]
    assert [word.partition("=")[0] for word in datasets] == ["mboshi", "es", "en"]


@pytest.mark.parametrize("expdir", ["exp", "an other"])
def test_the_curve_of_bytes_starts_from_the_finetuned_models_of_the_call(commands, recipes, expdir):
    """BitDelta is the last part of the curve, so a wrong path would show after hours."""
    made = commands("asterisk/asr1", "--bytes", "--stage", "11", "--model", "hubert_mini", "--expdir", expdir)
    (finetune, *_, bitdelta) = (read_yaml(c[3]) for c in made if c[1] == "espnet_s3router.experiments.grid")
    assert finetune["methods"] == ["head_only", "finetune"] and finetune["asr_tag"] == ""
    start = read_yaml(recipes.here / bitdelta["methods_config"][-1])["bitdelta"]["frontend_conf"]["mask_conf"]["start"]
    assert start == f"{expdir}/asr_finetune_seed{{seed}}/valid.cer_ctc.ave.pth" and bitdelta["expdir"] == expdir


def test_a_joint_run_of_two_languages(commands, recipes, monkeypatch):
    rows = ["pathways", "common_mask", "pathways_weights"]
    options = ("--langs", "en es", "--stage", "11", "--stop_stage", "11", "--joint", "--expdir", "an other")
    made = commands(ASTERISK, *options, "--joint_methods", " ".join(rows))
    grid = [c[3] for c in made if c[1] == "espnet_s3router.experiments.grid"][-1]
    joint = read_yaml(grid)
    assert joint["methods"] == rows and joint["train_set"] == "train_10min_joint" and joint["expdir"] == "an other"
    written = read_yaml(recipes.here / joint["methods_config"][-1])
    assert written == dict.fromkeys(rows, {"frontend_conf": {"mask_conf": {"languages": ["en", "es"]}}})
    monkeypatch.chdir(recipes.here)
    specs = specs_of(Options.read(grid).for_grid())
    learned = [
        (spec.mask_conf.get("masks"), spec.mask_conf.get("train_weights"), spec.config["optim_conf"]["lr"]) for spec in specs
    ]
    assert learned == [(None, None, 2e-3), ("shared", None, 2e-3), (None, True, 1e-4)]
    pools = [c[2:] for c in made if "pool" in c]
    assert pools[0] == ["pool", "data/train_10min_joint", "en=data/train_10min_en", "es=data/train_10min_es"]
    assert [c[1] for c in pools] == [f"data/{name}_joint" for name in ("train_10min", "dev", "test")]


@pytest.mark.parametrize("recipe", ["asterisk/asr1", "mboshi/asr1"])
def test_two_kinds_of_calls(recipes, recipe):
    recipes.recipe = recipe
    done = recipes.run("./run.sh", "--full", "--bytes", check=False, MBOSHI="/")
    assert done.returncode == 2 and "--full and --bytes are two calls" in done.stderr
