"""The transfer matrix of two made-up languages with two updates per run: every pair, its page, and what is refused."""

import shutil
from dataclasses import replace

import pytest
import torch

from espnet_s3router.experiments import grid, transfer
from espnet_s3router.files import read_yaml
from espnet_s3router.results.rows import read_rows
from tests.recipes.conftest import as_words, call

pytestmark = pytest.mark.filterwarnings("ignore")  # of ESPnet and s3prl, in this process

OTHER = str.maketrans("abcd", "cdab")
"""Spelling of the second language: the same recordings with other letters."""
MODEL = "valid.cer_ctc.ave.pth"


@pytest.fixture(scope="module")
def languages(prepared_recipes, tmp_path_factory):
    """(options of two languages, the folder of their experiments): ``aa`` is the made-up corpus, ``bb`` another spelling."""
    expdir = tmp_path_factory.mktemp("matrix")
    raw = prepared_recipes.here / "dump/raw"
    for name in ("train", "dev", "test"):
        shutil.copytree(raw / name, raw / f"{name}_bb", symlinks=True)
        lines = (raw / name / "text").read_text("utf-8").splitlines()
        spelt = [f"{key} {text.translate(OTHER)}\n" for key, text in (line.split(maxsplit=1) for line in lines)]
        (raw / f"{name}_bb/text").write_text("".join(spelt), encoding="utf-8")
    tokens = prepared_recipes.here / "data"
    for lang in ("aa", "bb"):
        shutil.copytree(tokens / "noinfo_token_list", tokens / f"{lang}_token_list")
    args = "max_epoch=1 num_iters_per_epoch=2"
    common = {"asr_args": args, "parallel": 1, "stage": 10, "asr_stats_dir": None, "inference_args": "--ctc_best_path true"}
    first = prepared_recipes.options(expdir, **common, lang="aa", asr_tag="aa")
    second = replace(
        first, lang="bb", asr_tag="bb", train_set="train_bb", valid_set="dev_bb", test_sets=("dev_bb", "test_bb")
    )
    return [first, second], expdir


def words_of(*options, separator="--language"):
    """The command line of a matrix; options are given as a user would type them."""
    from espnet_s3router.script_options import shown

    words = ["--control", "aa"] if separator == "--language" else []
    for one in options:
        names = [name for name in type(one).on_command_line() if getattr(one, name) != getattr(type(one)(), name)]
        words += [separator, *(word for name in names for word in (f"--{name}", shown(getattr(one, name))))]
    return words


@pytest.fixture(autouse=True)
def in_the_recipe(prepared_recipes, monkeypatch):
    monkeypatch.chdir(prepared_recipes.here)
    monkeypatch.setattr(transfer, "close_servers", lambda: None)


def test_missing_runs_are_named_before_training(languages):
    both, expdir = languages
    done = call(transfer.main, words_of(*both))
    assert done.returncode == 1 and not (expdir / "transfer").exists()
    for word in ("aa: ", "bb: ", "asr_bb_routing_s0.1_seed0 is not trained and scored", "Run stages 1 to 13"):
        assert word in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lang": "aa"}, "are aa aa, expected two or more different"),
        ({"seeds": (0, 1)}, "the own runs of bb and aa differ"),
        ({"sparsities": (0.2,)}, "the own runs of bb and aa differ"),
        ({"valid_set": "elsewhere"}, "--valid_set (elsewhere) among them"),
    ],
    ids=str,
)
def test_languages_that_do_not_fit(languages, change, message):
    first, second = languages[0]
    done = call(transfer.main, words_of(first, replace(second, **change)))
    assert done.returncode == 1 and message in done.stderr


def test_one_language_and_a_row_without_masks(languages):
    first, second = languages[0]
    assert "are aa, expected two or more" in call(transfer.main, words_of(first)).stderr
    done = call(transfer.main, ["--row", "finetune", *words_of(first, second)])
    assert "--row is 'finetune'" in done.stderr and "method routing" in done.stderr


def scores(folder):
    state = torch.load(folder / MODEL, weights_only=True)
    return {key: tensor for key, tensor in state.items() if key.endswith(".scores")}


def test_every_pair(languages):
    both, expdir = languages
    for one in both:
        done = call(grid.main, as_words(one))
        assert done.returncode == 0, done.stderr
    done = call(transfer.main, ["--kinds", "frozen", *words_of(*both)])
    assert done.returncode == 0, done.stderr
    assert "0 of 1 runs finished before" in done.stdout
    assert not any("adapted" in row.method for row in read_rows(expdir / "transfer/results.tsv"))
    done = call(transfer.main, words_of(*both))
    assert done.returncode == 0, done.stderr
    assert "1 of 2 runs finished before" in done.stdout and "frozen masks of other languages" in done.stdout
    for target, source in (("aa", "bb"), ("bb", "aa")):
        theirs = expdir / f"asr_{source}_routing_s0.1_seed0"
        folders = [expdir / f"transfer/asr_{target}_from_{source}_{kind}_s0.1_seed0" for kind in ("frozen", "adapted")]
        confs = [read_yaml(folder / "train.yaml")["frontend_conf"]["mask_conf"] for folder in folders]
        assert [conf["method"] for conf in confs] == ["magnitude", "routing"]
        assert all(conf["initial_mask"] == str(theirs / MODEL) for conf in confs)
        frozen = scores(folders[0])
        for key, learned in scores(theirs).items():  # a tenth of the smallest scores is removed, in both
            removed = int(learned.numel() * 0.1 + 0.5)
            masks = [set(tensor.abs().flatten().argsort()[:removed].tolist()) for tensor in (learned, frozen[key])]
            assert masks[0] == masks[1] and removed, key
    rows = read_rows(expdir / "transfer/results.tsv")
    methods = {"train": ("routing", "from_bb_frozen", "from_bb_adapted")}
    methods |= {"train_bb": ("routing", "from_aa_frozen", "from_aa_adapted")}
    assert {(row.split, row.method) for row in rows} == {(split, name) for split in methods for name in methods[split]}
    page = (expdir / "transfer/RESULTS.md").read_text("utf-8")
    assert "|masks of|aa|bb|mean difference %|" in page and (expdir / "transfer/transfer_s0.1.png").is_file()
    again = call(transfer.main, words_of(*both))
    assert again.returncode == 0 and again.stdout.count("2 of 2 runs finished before") == 2
