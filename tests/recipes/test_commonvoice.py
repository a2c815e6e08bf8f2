"""commonvoice/multi1 on tiny releases in the layouts of 5.1, 17 and 25: from ``run.sh`` to error rates."""

import csv
import json

import pytest
from toy_commonvoice import V5, V17, V25, write_language

from espnet_s3router.files import read_yaml
from tests.recipes.staged import run_stages

pytestmark = pytest.mark.filterwarnings("ignore")  # of ESPnet and s3prl, in this process

UPDATES = "max_epoch=1 num_iters_per_epoch=2 scheduler_conf.max_steps=2 optim_conf.head_lr=0.01"
OPTIONS = ("--model", "hubert_mini", "--minutes", "0.1", "--nj", "1", "--parallel", "1", "--asr_args", UPDATES)
OPTIONS += ("--inference_args", "--ctc_best_path true", "--stop_stage", "13")
EXPERIMENT = "asr_0.1min_{}_hubert_mini_routing_s0.08_seed0"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, copying):
    """trained(release, lang, *options) -> the recipes and what the page printed, after all stages of one language."""
    folder = tmp_path_factory.mktemp("commonvoice")
    recipes = copying(folder)
    recipes.recipe = "commonvoice/multi1"

    def run(release, lang, *options):
        root = write_language(folder / "a corpus", lang, release)
        words, kept = ("--langs", lang, *OPTIONS, *options), tmp_path_factory.mktemp("options")
        return recipes, run_stages(recipes, *words, kept=kept, COMMONVOICE=str(root))[1]

    return run


def rates(recipes, split):
    """(method, dataset, metric) of the error rates of a training set."""
    with (recipes.here / "exp/results.tsv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == split]
    return {(row["method"], row["set"], row["metric"]) for row in rows if row["metric"] in ("cer", "wer", "per")}


def tokens(recipes, folder):
    """The tokens of a list between <unk> and <sos/eos>."""
    return (recipes.here / f"data/{folder}/tokens.txt").read_text("utf-8").split()[2:-1]


def test_release_5_in_spanish(trained):
    """Weights are trained, on characters. Durations are measured."""
    recipes, printed = trained(V5, "es", "--methods", "finetune")
    assert f"; {V5}" in printed and "CER test %" in printed
    expected = {("finetune", name, metric) for name in ("dev_es", "test_es") for metric in ("cer", "wer")}
    assert rates(recipes, "train_0.1min_es") == expected
    found = tokens(recipes, "0.1min_es_token_list/char")
    assert "<space>" in found and all(token == "<space>" or token.islower() for token in found)


def test_release_17_in_mandarin(trained):
    """Masks are trained. The third column is an identifier; tokens are Han characters, without spaces between them."""
    recipes, _ = trained(V17, "zh-TW", "--methods", "routing")
    found = tokens(recipes, "0.1min_zh-TW_token_list/char")
    assert found and "<space>" not in found and not set("0123456789，。") & set(found)
    assert ("routing", "test_zh-TW", "cer") in rates(recipes, "train_0.1min_zh-TW")
    text = (recipes.here / "dump/raw/test_zh-TW/text").read_text("utf-8")
    assert all(len(line.split()) == 2 for line in text.splitlines())


def test_release_25_in_french_on_phones(trained, tmp_path):
    """Phones of a file: each is one token and one unit of the error rate, however many characters it has."""
    names = [f"common_voice_fr_{number}" for number in range(101, 111)]
    (tmp_path / "labels.txt").write_text("".join(f"{name} 0 2 1 0\n" for name in names))
    (tmp_path / "phonesMatches_reduced.json").write_text(json.dumps({"a": 0, "ʃ": 1, "ɛ̃ː": 2}))
    words = ("--units", "phones", "--methods", "routing", "--local_data_opts", f"--phone_labels {tmp_path}/labels.txt")
    recipes, printed = trained(V25, "fr", *words)
    assert sorted(tokens(recipes, "0.1min_fr_phn_token_list/phn")) == sorted(["a", "ʃ", "ɛ̃ː"])
    expected = {("routing", name, "per") for name in ("dev_fr_phn", "test_fr_phn")}
    assert rates(recipes, "train_0.1min_fr_phn") == expected
    assert "PER test %" in printed and "CER" not in printed and "per_against_sparsity.png" in printed
    folder = recipes.here / "exp" / EXPERIMENT.format("fr_phn") / "decode_ctc/test_fr_phn"
    counts = json.loads((folder / "counts.json").read_text("utf-8"))["per"]
    assert all(sum(count[:3]) == 4 for count in counts.values())  # four phones in each reference
    decoded = {line.split()[0]: line.split()[1:] for line in (folder / "text").read_text("utf-8").splitlines()}
    assert decoded.keys() == counts.keys()
    assert all(set(phones) <= {"a", "ʃ", "ɛ̃ː", "<unk>"} for phones in decoded.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "xls_r"), ["no conf/upstream/xls_r.yaml", "xls_r_300m.yaml"]),
        (("--units", "words"), ["--units is 'words'", "characters or phones"]),
        (("--minutes", "an hour"), ["--minutes is 'an hour'"]),
        (("--langs", ""), ["--langs is empty"]),
        (("--langs", "es fr", "--train_set", "mine"), ["--train_set is for one language, and there are 2"]),
        (("--langs", "es fr", "--local_data", ""), ["--local_data is for one language"]),
        ((), ["set COMMONVOICE in", "README.md"]),
    ],
)
def test_options_of_the_recipe(recipes, options, words):
    recipes.recipe = "commonvoice/multi1"
    done = recipes.run("./run.sh", *options, check=False, COMMONVOICE="")
    assert done.returncode == 2 and all(word in done.stderr for word in words), done.stderr


def test_a_folder_that_is_not_there(recipes):
    recipes.recipe = "commonvoice/multi1"
    done = recipes.run("./run.sh", check=False, COMMONVOICE="absent")
    assert done.returncode == 2 and "COMMONVOICE is 'absent', and there is no such folder" in done.stderr


def test_a_missing_language_is_reported_before_the_first_one_is_prepared(recipes, tmp_path):
    recipes.recipe = "commonvoice/multi1"
    root = write_language(tmp_path, "es")
    done = recipes.run("./run.sh", "--langs", "es it", check=False, COMMONVOICE=str(root))
    assert done.returncode == 1 and "no folder 'it', there is es" in done.stderr
    assert not (recipes.here / "data").exists()


def test_every_language_has_its_own_names(commands):
    """Data, tokens and experiments of eleven languages side by side; all are looked for before the first one."""
    made = commands("commonvoice/multi1", "--stop_stage", "11", "--methods", "routing", COMMONVOICE="conf")
    prepared = [command for command in made if command[1] == "local.commonvoice"]
    assert ["--check_corpus" in command for command in prepared] == [True] * 11 + [False] * 11
    prepared = prepared[11:]
    expected = "en es fr it ky nl ru sv-SE tr tt zh-TW"
    assert " ".join(command[command.index("--lang") + 1] for command in prepared) == expected
    assert all(command[command.index("--root") + 1] == "conf" for command in prepared)
    lists = [command[4] for command in made if "tokens" in command]
    assert len(lists) == len(set(lists)) == 11 and "data/60min_sv-SE_token_list/char/tokens.txt" in lists


def test_the_routes_of_all_languages_share_a_folder(commands):
    made = commands("commonvoice/multi1", "--langs", "es sv-SE", "--stage", "17", COMMONVOICE="conf")
    deployed = [read_yaml(c[c.index("--options") + 1]) for c in made if c[1] == "espnet_s3router.experiments.deploy"]
    assert [(one["route_language"], one["routes_method"]) for one in deployed] == [("es", "routing"), ("sv-SE", "routing")]
    assert {one["routes_dir"] for one in deployed} == {"exp/routes_xls_r_300m"}


def test_own_data_of_one_language(commands):
    words = (
        "--langs",
        "es",
        "--local_data",
        "",
        "--train_set",
        "train_mine",
        "--valid_set",
        "mydev",
        "--test_sets",
        "mydev mytest",
    )
    made = commands("commonvoice/multi1", *words, "--stop_stage", "5", COMMONVOICE="")
    assert not [command for command in made if command[1] == "local.commonvoice"]
    (tokens,) = (command for command in made if "tokens" in command)
    assert tokens[3:5] == ["dump/raw/train_mine", "data/mine_token_list/char/tokens.txt"]
