"""Mistakes of a user: each gives one paragraph (what was given, what was expected, how to fix it) and an exit code.
Nothing is left behind that looks like a result."""

import os
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from espnet_s3router.errors import exit_status
from espnet_s3router.experiments import grid as experiments
from espnet_s3router.experiments import options as recipe_options
from espnet_s3router.experiments.single import run as single_run
from tests.recipes.conftest import SETS

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 1200  # characters of a message
NAME = "asr_routing_s0.1_seed0"
EGS = ROOT / "egs2/s3router"
RECIPES = sorted(path.parent.relative_to(EGS).as_posix() for path in EGS.glob("*/*/run.sh"))

pytestmark = pytest.mark.filterwarnings("ignore")  # of ESPnet and s3prl, in this process


def assert_message(stderr, *words):
    """stderr ends with one short message that holds these words, and holds no traceback."""
    paragraph = stderr[re.search(r"^(error|Error|install|run_all): |\Z", stderr, re.MULTILINE).start() :] or stderr
    assert "Traceback" not in stderr
    assert len(paragraph) < LONGEST
    for word in words:
        assert word in paragraph, paragraph


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_symlink()}


# --- the shell: run.sh, router.sh, run_all.sh, install.sh


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--spasity", "0.1"], ["unknown option --spasity", "did you mean --sparsities?", "--help"]),
        (["--modle", "x"], ["unknown option --modle", "did you mean --model or --bpemode?"]),
        (["--asr_args", "'a b"], ["--asr_args is", "No closing quotation"]),
        (["--ngpu", "one"], ["--ngpu is 'one'", "expected a number"]),
        (["--parallel", "0"], ["--parallel is 0", "at least 1"]),
        (["--upstream_path", "x"], ["--upstream_path is x", "expected --upstream"]),
        (["--stage"], ["--stage needs a value"]),
        (["routing"], ["unexpected argument routing", "options begin with --"]),
        (["--stage", "train"], ["--stage is 'train'", "expected a number"]),
        (["--stage", "6"], ["stage 6 (language models)", "Use --stage 10"]),
        (["--stage", "1", "--stop-stage", "18"], ["18 (analyse)", "not built yet", "--stop_stage 13"]),
        (["--stage", "16", "--stop_stage", "18"], ["18 (analyse)", "not built yet", "16 to prune or 17"]),
        (["--stop_stage", "15"], ["stage 15 needs --hf_repo OWNER/NAME"]),
        (["--stop_stage", "14", "--pack_kind", "shrunk"], ["--pack_kind is 'shrunk'", "auto, routes, baked, experiment"]),
        (["--stop_stage", "17", "--export", "fp16"], ["--export is fp16", "expected some of fp32, int8"]),
        (["--stop_stage", "99"], ["--stop_stage is 99", "at most 17"]),
        (["--stop_stage", "16", "--prune_methods", "parp", "--sparsities", ""], ["stage 16 needs", "--sparsities"]),
        (["--stop_stage", "16", "--sparsities", "0.5"], ["stage 16 needs", "--prune_methods"]),
        (["--gpu_inference", "true"], ["--gpu_inference is true", "--ngpu 0"]),
        (["--gpu_inference", "maybe", "--ngpu", "1"], ["--gpu_inference is 'maybe'", "expected true or false"]),
        (["--skip_committed", "yes"], ["--skip_committed is 'yes'", "expected true or false"]),
        (["--skip_committed", "true", "--committed_results", "a/*.tsv"], ["is 'a/*.tsv'", "no such file"]),
        (["--options", "x"], ["unknown option --options"]),
        (["--lang"], ["--lang needs a value"]),
        (["--cleaner", "lowercase"], ["--cleaner is 'lowercase'", "expected none or", "tacotron"]),
        (["--token_type", "phoneme"], ["'phoneme'", "expected one of char, bpe, word, phn"]),
        (["--train_set", ""], ["--train_set, --valid_set and --test_sets are needed"]),
        (["--valid_set", "dev_es"], ["--test_sets is 'dev_en test_en'", "expected --valid_set (dev_es) among them"]),
        (["--fs", "8k"], ["--fs is '8k'", "expected 16000"]),
        (["--skip_train", "True"], ["--skip_train is 'True'", "expected true or false"]),
        (["--check_corpus", "yes"], ["--check_corpus is 'yes'", "expected true or false"]),
        (["--pretrained_model", "no.pth:a:b"], ["--pretrained_model is 'no.pth:a:b'", "no such file"]),
        (["--nlsyms_txt", "no.txt"], ["--nlsyms_txt is 'no.txt'", "no such file"]),
        (["--nlsyms_txt", "run.sh"], ["run.sh: ", "holds white space", "Expected symbols such as <noise>"]),
        (["--dumpdir", "a,b"], ["'a,b ", "expected no comma"]),
        (["--stage", "10", "--unseen", "no"], ["--unseen is 'no'", "no such file", "--unseen ''"]),
        (["--stage", "10"], ["there is no data/test_en", "run stages 1 to 5 first"]),
        (["--stage", "12", "--stop_stage", "11"], ["--stage is 12, after --stop_stage, which is 11"]),
        (["--stage", "16"], ["after --stop_stage, which is 13", "give --stop_stage 16 too"]),
        (["--stage", "17"], ["after --stop_stage, which is 13", "give --stop_stage 17 too"]),
        (["--stop_stage", "17", "--prune_methods", "parp", "--sparsities", ""], ["stage 16 needs", "--sparsities"]),
        (["--stop_stage", "17", "--route_utterances", "0"], ["--route_utterances is 0", "at least 1"]),
        (["--stop_stage", "17", "--route_language", "../nl"], ["--route_language is '../nl'", "the name of a file"]),
        (["--stop_stage", "17", "--routes_dir", "r", "--routes_method", "lora"], ["'lora'", "head_only, finetune, routing"]),
        (["--stop_stage", "17", "--routes_method", "routing"], ["--routes_method is routing", "expected --routes_dir"]),
        (["--lang", "de"], ["--lang is 'de'", "expected en, es, fr, it or ru"]),
    ],
)
def test_options_of_a_recipe(recipes, options, words):
    before = files(recipes.root)
    done = recipes.run("./run.sh", *options, check=False)
    assert done.returncode == 2
    assert_message(done.stderr, "error: ", *words)
    assert files(recipes.root) == before


@pytest.mark.parametrize(
    ("recipe", "options", "words"),
    [
        ("asterisk/asr1", ["--methods", "rooting"], ["'rooting'", "not in the methods file"]),
        ("asterisk/asr1", ["--sparsities", "8"], ["sparsity is 8.0", "in [0, 1)"]),
        ("asterisk/asr1", ["--asr_config", "conf/none.yaml"], ["conf/none.yaml"]),
        ("asterisk/prune1", ["--prune_methods", "omp rooting"], ["'rooting'", "not in the methods file"]),
        ("asterisk/prune1", ["--sparsities", "0.5 0.5"], ["twice"]),
    ],
)
def test_an_experiment_that_cannot_be_is_refused_before_its_data_is_prepared(recipes, recipe, options, words):
    recipes.recipe = recipe
    done = recipes.run("./run.sh", *options, check=False)
    assert done.returncode == 1 and "Stage 1" not in done.stdout
    assert_message(done.stderr, "error: ", *words)
    assert not (recipes.here / "data").exists()


def test_gpus_that_are_not_there_are_missed_before_data_are_prepared(recipes):
    """The variable names a GPU, and that is not believed."""
    done = recipes.run("./run.sh", "--ngpu", "1", check=False, CUDA_VISIBLE_DEVICES="99")
    assert done.returncode == 1 and "Stage 1" not in done.stdout
    assert_message(done.stderr, "error: ", "ngpu is 1, but")
    assert not (recipes.here / "data").exists()


def test_another_environment_is_active(recipes, tmp_path):
    """Its python3 is the first, and lacks the packages."""
    python = script(tmp_path / "other/bin/python3", f'exec {sys.executable} -S "$@"')
    path = f"{python.parent}:{recipes.environment()['PATH']}"
    for environment, words in {
        str(tmp_path / "other"): [f"The environment {tmp_path}/other is active: deactivate it", "pip install -e"],
        "": ["./run_all.sh makes an environment", "--python"],
    }.items():
        done = recipes.run("./run.sh", check=False, PATH=path, VIRTUAL_ENV=environment)
        assert done.returncode == 2 and not done.stdout
        assert_message(done.stderr, f"error: {python} lacks yaml, numpy, torch, espnet2, s3prl. ", *words)
    done = recipes.run("./run.sh", "--python", "python9", check=False)
    assert done.returncode == 2
    assert_message(done.stderr, "error: --python is 'python9', and there is no such interpreter")


CHOICES = """
. ../../TEMPLATE/router1/common.sh
model=whisper_tiny_en lang=en rest=({options})
. ../choices.sh
echo "${{tag}}|${{results}}|${{methods}}|${{file}}|${{upstream}}"
"""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", "whisper_tiny_en|RESULTS|M conf/methods/whisper_tiny_en.yaml|conf/upstream/whisper_tiny_en.yaml|W"),
        ("--upstream wav2vec2_base_960", "wav2vec2_base_960|RESULTS_wav2vec2_base_960|M||"),
        (
            "--upstream hf_hubert_custom --upstream_path facebook/hubert-base-ls960",
            "hubert-base-ls960|RESULTS_hubert-base-ls960|M||",
        ),
    ],
)
def test_another_upstream_has_experiments_and_pages_of_its_own(recipes, options, expected):
    """Its name, rates and page differ from those of the recipe's own upstream."""
    choices = recipes.run("bash", "-c", CHOICES.format(options=options)).stdout.strip()
    expected = expected.replace("|W", "|local.whisper_tiny_en --download_dir downloads").replace("M", "conf/methods.yaml")
    assert choices == expected


VARIABLES = ("ASTERISK", "LIBRISPEECH", "LIBRILIGHT_LIMITED", "MBOSHI", "COMMONVOICE", "FSC", "SNIPS", "SLURP")
"""Variables that name the folder of a corpus. All but the first must be set for the recipes of their corpus."""


@pytest.mark.parametrize("recipe", RECIPES)
def test_help_and_whether_the_corpus_is_there(recipes, recipe):
    """``run_all.sh --all`` checks the corpus of every recipe, and a user reads --help first; neither needs a corpus."""
    recipes.recipe = recipe
    before = files(recipes.root)
    head = (recipes.here / "run.sh").read_text("utf-8").splitlines()[1].removeprefix("# ")
    unset = dict.fromkeys(VARIABLES[1:], "")
    message = recipes.run("./run.sh", "--help", **unset).stdout
    assert message.startswith(head) and message.count("--stop_stage ") == message.count("--stage 1 ") == 1
    for declared in re.findall(r"^option (\w+) (\w+) \"(.*)\"$", (recipes.here / "run.sh").read_text("utf-8"), re.MULTILINE):
        assert re.search(rf"^--{declared[0]} {declared[1]} +{re.escape(declared[2])}$", message, re.MULTILINE)
    done = recipes.run("./run.sh", "--check_corpus", "true", check=False, **unset)
    corpora = {"libri": "LIBRISPEECH", "mbosh": "MBOSHI", "commo": "COMMONVOICE"}
    if needed := (corpora | {name.lower(): name for name in ("FSC", "SNIPS", "SLURP")}).get(recipe.partition("/")[0][:5]):
        assert done.returncode == 2 and f"set {needed}" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "")
        assert re.search(
            "^(en|train_en|festvox_ru): (not in downloads.*, stage 1 downloads it|texts in .*)$", done.stdout, re.M
        )
    if not recipe.startswith("ssl"):  # whose recordings are packages
        nowhere = dict.fromkeys(VARIABLES, "/nowhere")
        done = recipes.run("./run.sh", "--check_corpus", "true", check=False, **nowhere)
        assert done.returncode == 2 and "is '/nowhere', and there is no such folder" in done.stderr
    assert files(recipes.root) - before <= {"egs2/s3router/asterisk/asr1/downloads"}  # empty; two recipes share it


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if not recipe.startswith("ssl")])
def test_a_corpus_whose_folder_is_empty(recipes, tmp_path, recipe):
    """The folders that the variables name are there, and nothing is in them."""
    recipes.recipe = recipe
    empty = dict.fromkeys(VARIABLES, str(tmp_path))
    done = recipes.run("./run.sh", "--check_corpus", "true", check=False, **empty)
    assert done.returncode == 1
    assert_message(done.stderr, "error: ", str(tmp_path), "xpected")


def test_whether_the_users_own_data_are_there(recipes, corpus):
    (recipes.here / "data").symlink_to(corpus)
    words = ("--local_data", "", "--train_set", "train", "--valid_set", "dev", "--check_corpus", "true", "--test_sets")
    found = recipes.run("./run.sh", *words, "dev test").stdout.splitlines()
    assert found == [f"data/{name}: {size} utterances of 1 speakers, no problems" for name, size in SETS.items()]
    done = recipes.run("./run.sh", *words, "dev test2", check=False)
    assert done.returncode == 1
    assert_message(done.stderr, "error: ", "data/test2")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--split", "5min"], ["no conf/split/5min.yaml", "10min.yaml"]),
        (["--model", "wav2vec3"], ["no conf/upstream/wav2vec3.yaml", "hubert_base.yaml"]),
        (["--split"], ["--split needs a value"]),
        ([], ["LIBRISPEECH", "LIBRILIGHT_LIMITED", "README.md"]),
    ],
)
def test_options_of_librilight(recipes, options, words):
    recipes.recipe = "librilight/asr1"
    before = files(recipes.root)
    done = recipes.run("./run.sh", *options, check=False, LIBRISPEECH="", LIBRILIGHT_LIMITED="")
    assert done.returncode == 2
    assert_message(done.stderr, "error: ", *words)
    assert files(recipes.root) == before


def test_librispeech_recipes_take_the_users_own_data(recipes):
    """Without the corpora that they are about."""
    recipes.recipe = "librilight/asr1"
    sets = ("--train_set", "mine", "--valid_set", "mydev", "--test_sets", "mydev mytest")
    words = ("./run.sh", "--local_data", "", "--stop_stage", "5", *sets)  # training would need the network
    done = recipes.run(*words, check=False, LIBRISPEECH="", LIBRILIGHT_LIMITED="")
    assert done.returncode == 1
    assert_message(done.stderr, "data/mine: no such data directory")


def test_corpora_named_from_where_the_user_stands(tmp_path):
    (clone := tmp_path / "clone").mkdir()
    shutil.copy(ROOT / "run_all.sh", clone)
    (clone / "install.sh").touch()
    (clone / "egs2/s3router/TEMPLATE/router1").mkdir(parents=True)
    shutil.copy(EGS / "TEMPLATE/router1/db.sh", clone / "egs2/s3router/TEMPLATE/router1")
    script(clone / "egs2/s3router/asterisk/asr1/run.sh", 'echo "${ASTERISK} ${LIBRISPEECH}"')
    (tmp_path / "my sounds").mkdir()
    environment = {"PATH": os.environ["PATH"], "ASTERISK": "my sounds", "LIBRISPEECH": "absent"}
    done = subprocess.run(["clone/run_all.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path}/my sounds absent\n"


def test_all_recipes_run_though_one_fails(tmp_path):
    shutil.copy(ROOT / "run_all.sh", tmp_path)
    (tmp_path / "install.sh").touch()
    script(tmp_path / "egs2/s3router/TEMPLATE/router1/db.sh", "")
    for name, status in {"a": 0, "b": 3, "c": 0}.items():
        folder = tmp_path / "egs2/s3router/x" / name
        folder.mkdir(parents=True)
        script(folder / "run.sh", f'[ "${{1:-}}" = --check_corpus ] || {{ echo ran {name}; exit {status}; }}')
    done = subprocess.run([tmp_path / "run_all.sh", "--all"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout.count("ran ") == 3
    assert_message(done.stderr, "run_all: failed: x/b")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--only", "asterisk/tts1"], ["no recipe 'asterisk/tts1'", "expected one of", "librilight/asr1"]),
        (["--only"], ["--only needs a recipe"]),
        (["librilight"], ["unexpected argument 'librilight'", "--help"]),
    ],
)
def test_run_all(options, words):
    done = subprocess.run([ROOT / "run_all.sh", *options], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert_message(done.stderr, *words)
    assert done.stdout == ""


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def install(tmp_path, recipes):
    """install(python, df) -> what install.sh of a fresh clone says; ``df``: kilobytes free; ``start``: do not wait."""
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "constraints", clone / "constraints")
    for name in ("install.sh", "setup.py"):
        shutil.copy(ROOT / name, clone / name)

    def call(python, free=100_000_000, start=False):
        df = f"echo 'Filesystem 1024-blocks Used Available Capacity Mounted'\necho 'disk 200000000 1 {free} 1% /'"
        tools = script(tmp_path / "tools/df", df).parent
        path = f"{tools}:{recipes.environment()['PATH']}"
        if start:
            return recipes.start("bash", clone / "install.sh", PYTHON=str(python), PATH=path), clone
        return recipes.run("bash", clone / "install.sh", check=False, PYTHON=str(python), PATH=path), clone

    return call


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.14"])
def test_another_python(install, tmp_path, version):
    done, clone = install(script(tmp_path / "python", f"echo {version}"))
    assert done.returncode == 1
    assert_message(done.stderr, f"is Python {version}", "expected 3.11, 3.12 or 3.13", "PYTHON=")
    assert not (clone / ".venv").exists()


def test_the_environment_that_is_there_is_used_whatever_python3_is(install, tmp_path):
    """Made with PYTHON=… once, it need not be said again."""
    script(tmp_path / "tools/python3", "echo 3.9")
    venv = tmp_path / "clone/.venv/bin/python"
    done, clone = install(
        script(venv, '[ "$1" = -c ] && { echo 3.12; exit; }; echo "pip of $0"; exit 1').parent / "../../none"
    )
    assert "no such interpreter" in done.stderr
    done, clone = install("")
    assert_message(done.stderr, "pip failed")
    assert "pip of" in (clone / ".venv/install.log").read_text("utf-8")


def test_no_such_python(install):
    done, _ = install("python3.99")
    assert done.returncode == 1
    assert_message(done.stderr, "PYTHON is 'python3.99'", "no such interpreter")


def test_a_disk_that_is_too_small(install, tmp_path):
    done, clone = install(script(tmp_path / "python", "echo 3.12"), free=3_500_000)
    assert done.returncode == 1
    assert_message(done.stderr, "3 GB free", "expected 10 GB")
    assert not (clone / ".venv").exists()


def test_what_is_installed_already_needs_no_space_again(install, tmp_path):
    """An installation that was interrupted goes on where 10 GB are no longer free."""
    script(tmp_path / "clone/.venv/bin/python", '[ "$1" = -c ] && { echo 3.12; exit; }; exit 1')
    script(tmp_path / "tools/du", "printf '7000000\\t.\\n'")
    done, _ = install("", free=3_900_000)
    assert_message(done.stderr, "3 GB free")
    done, _ = install("", free=4_500_000)
    assert_message(done.stderr, "pip failed")


def test_an_installation_that_fails(install, tmp_path):
    """The interpreter makes an environment whose pip says no; the next call must try again."""
    pip = script(tmp_path / "pip", "echo no matching distribution; exit 1")
    venv = f'mkdir -p "$3/bin"; cp {pip} "$3/bin/python"'
    done, clone = install(script(tmp_path / "python", f'[ "$2" = venv ] || {{ echo 3.12; exit; }}\n{venv}'))
    assert done.returncode == 1
    assert "no matching distribution" in done.stderr  # the end of pip's log
    assert_message(done.stderr, "pip failed", "install.log", "run the same command again")
    assert not (clone / ".venv/.installed").exists()


def test_an_installation_that_is_interrupted(install, tmp_path):
    """pip runs behind the script, and would go on."""
    pip = script(tmp_path / "pip", f"echo $$ >{tmp_path}/pid\nexec sleep 100")
    venv = f'mkdir -p "$3/bin"; cp {pip} "$3/bin/python"'
    process, clone = install(script(tmp_path / "python", f'[ "$2" = venv ] || {{ echo 3.12; exit; }}\n{venv}'), start=True)
    limit = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.01)
    process.terminate()
    assert process.wait(60) == 130
    pid = int((tmp_path / "pid").read_text())
    while Path(f"/proc/{pid}/cmdline").exists() and b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < limit, "pip goes on"
        time.sleep(0.01)
    assert not (clone / ".venv/.installed").exists()


# --- data directories


def test_transcripts_or_recordings_that_are_missing(recipes, corpus):
    data = recipes.here / "data"
    shutil.copytree(corpus, data)
    (data / "train/text").write_text("\n".join((data / "train/text").read_text("utf-8").splitlines()[1:]) + "\n")
    lines = (data / "train/wav.scp").read_text("utf-8").splitlines()
    lines[2] = f"train-02 {data}/train/wav/lost.wav"
    (data / "train/wav.scp").write_text("\n".join(lines) + "\n")
    sets = ("--train_set", "train", "--valid_set", "dev", "--test_sets", "dev test")
    done = recipes.run("./run.sh", "--local_data", "", "--stage", "2", *sets, check=False)
    assert done.returncode == 1
    words = ("data/train: 2 problem(s)", "text: nothing for 'train-00'", "audio of 'train-02' is missing", "Mend")
    assert_message(done.stderr, *words)
    assert not (recipes.here / "exp").exists() and not list(recipes.here.glob("dump/raw/*/*"))
    (data / "train/text").unlink()
    done = recipes.run("./run.sh", "--local_data", "", "--stage", "2", *sets, check=False)
    assert done.returncode == 1
    assert_message(done.stderr, "text: cannot be read")


def test_a_folder_without_the_corpus(recipes, tmp_path):
    done = recipes.run("./run.sh", check=False, ASTERISK=str(tmp_path))
    assert done.returncode == 1
    assert_message(done.stderr, str(tmp_path), "xpected")
    assert not any((recipes.here / name).exists() for name in ("exp", "dump"))


# --- the grid of experiments


MASK = "frontend_conf.mask_conf"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods": "rooting"}, ["'rooting' is not in the methods file", "routing"]),
        ({"asr_args": f"{MASK}.method=rooting"}, ["method is 'rooting'", "expected one of", "Did you mean routing?"]),
        ({"asr_args": f"{MASK}.targets=feedforward"}, ["targets is 'feedforward'", "feed_forward", "patterns"]),
        ({"asr_args": f"{MASK}.init=orig"}, ["init is 'orig'", "expected one of ori"]),
        ({"asr_args": f"{MASK}.sparsty=0.1"}, ["'sparsty' is not an option of method routing", "Did you mean sparsity?"]),
        ({"asr_args": f"{MASK}.train_biases=maybe"}, ["train_biases is 'maybe'", "expected true or false"]),
        ({"sparsities": "1.0"}, ["sparsity is 1.0", "[0, 1)"]),
        ({"sparsities": "-0.1"}, ["sparsity is -0.1", "[0, 1)"]),
        ({"sparsities": "nan"}, ["sparsity is nan", "[0, 1)"]),
        ({"sparsities": "0.1 0.2 0.1"}, ["routing_s0.1_seed0 twice", "once"]),
        ({"seeds": "1 1"}, ["twice", "once"]),
        ({"methods": "routing routing"}, ["twice", "once"]),
        ({"asr_args": "optim_conf.lr"}, ["'optim_conf.lr' is not KEY=VALUE", "optim_conf.lr=0.001"]),
        ({"asr_args": "frontend=s3prl"}, ["expected frontend: masked_upstream"]),
        ({"asr_config": "conf/absent.yaml"}, ["conf/absent.yaml: cannot be read"]),
        ({"methods_config": __file__}, ["test_bad_input.py", "is not YAML"]),
        ({"upstream": ""}, ["--upstream_path", "expected --upstream"]),
    ],
)
@pytest.mark.parametrize("stage", [10, 11])
def test_the_grid(prepared, tmp_path, capsys, stage, changes, words):
    assert experiments.main(prepared.words(tmp_path / "exp", stage=stage, asr_stats_dir=tmp_path / "stats", **changes)) == 1
    assert_message(capsys.readouterr().err, "error: ", *words)
    assert files(tmp_path) == set()


def test_an_interruption(prepared, tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments, "run_unfinished", interrupted)
    assert experiments.main(prepared.words(tmp_path / "exp")) == 130
    assert_message(capsys.readouterr().err, "error: interrupted", "run the same command again")


def job_in(options):
    """The job of a grid of one run."""
    (job,) = experiments.jobs_of(options, experiments.specs_of(options))
    options.write(experiments.options_file(options))
    return job


def test_two_processes_on_one_run(prepared, tmp_path, capsys):
    job = job_in(prepared.options(tmp_path))
    with single_run.locked_folder(job.log.parent):
        assert single_run.main(job.arguments) == 1
    assert_message(capsys.readouterr().err, "error: ", NAME, "another process works on")
    assert files(job.log.parent) == {"train.yaml"}


def test_values_that_are_no_numbers(capsys):
    assert recipe_options.Options.main(["--sparsities", "much"]) == 2
    assert_message(capsys.readouterr().err, "--sparsities is 'much', expected numbers")


WRONG_UPSTREAMS = [
    ({"upstream": "wav2vec3", "upstream_path": None}, ["'wav2vec3'", "does not know", "near: "]),
    ({"upstream": "hf_hubert_custom", "upstream_path": "/nowhere/hubert"}, ["'/nowhere/hubert'", "no such file"]),
    ({"upstream": "hf_hubert_custom", "upstream_path": EGS}, ["s3router has no config.json"]),
    ({"upstream": "wav2vec2_custom", "upstream_path": __file__}, ["could not be loaded", "Expected a checkpoint"]),
    ({"upstream": "wav2vec2_custom", "upstream_path": None}, ["wav2vec2_custom needs path_or_url"]),
]


@pytest.mark.parametrize(("changes", "words"), WRONG_UPSTREAMS, ids=["unknown", "absent", "empty", "no_upstream", "no_path"])
@pytest.mark.parametrize("stage", [1, 11])
def test_an_upstream_is_checked_once_at_the_start(prepared, tmp_path, capsys, stage, changes, words):
    """Before data preparation, which ``--only_check`` precedes, and before the runs."""
    given = prepared.words(tmp_path, stage=stage, methods="routing head_only", **changes)
    assert experiments.main([*given, *(["--only_check"] if stage == 1 else [])]) == 1
    message = capsys.readouterr().err
    assert_message(message, "error: frontend_conf: ", *words)
    assert message.count("error: ") == 1
    assert not list(tmp_path.rglob("run.log"))


def test_an_upstream_that_stage_1_will_fetch(prepared, tmp_path, capsys):
    changes = {
        "stage": 1,
        "upstream": "hf_hubert_custom",
        "upstream_path": "/nowhere/hubert",
        "local_data": "local.asterisk",
    }
    words = prepared.words(tmp_path, **changes, local_upstream="local.whisper_tiny_en")
    assert experiments.main([*words, "--only_check"]) == 0
    assert experiments.main([*prepared.words(tmp_path, **changes), "--only_check"]) == 1
    assert_message(capsys.readouterr().err, "'/nowhere/hubert'")


# --- training: mistakes that only the upstream shows


def run_one(prepared, expdir, **changes):
    """Train the one run of a grid in this process; returns its exit code and folder."""
    job = job_in(prepared.options(expdir, stop_stage=11, **changes))
    assert job.module == single_run.__name__
    return single_run.main(job.arguments), job.log.parent


FEW = "max_epoch=1 num_iters_per_epoch=1"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        *WRONG_UPSTREAMS,
        ({"asr_args": f"{MASK}.targets=*.fc7.weight"}, ["*.fc7.weight", "fc1"]),
    ],
    ids=["unknown", "absent", "empty", "no_upstream", "no_path", "no_hit"],
)
def test_an_upstream_that_does_not_fit(prepared, tmp_path, capsys, changes, words):
    code, folder = run_one(prepared, tmp_path, **changes)
    assert code == 1
    assert_message(capsys.readouterr().err, "error: ", *words)
    assert files(folder) == {"begun.json", "train.yaml"}


def test_after_the_mistake_is_fixed_the_same_run_trains(prepared, tmp_path, capsys):
    assert run_one(prepared, tmp_path, asr_args=f"{MASK}.targets=*.fc7.weight {FEW}")[0] == 1
    code, folder = run_one(prepared, tmp_path, asr_args=FEW)
    assert code == 0, capsys.readouterr().err
    assert (folder / ".trained").exists() and (folder / "point.json").exists()


def test_a_disk_without_room_for_checkpoints(prepared, tmp_path, capsys, monkeypatch):
    from espnet_s3router.plugin.training import checks as preflight

    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    code, folder = run_one(prepared, tmp_path, asr_args=FEW)
    assert code == 1
    assert_message(capsys.readouterr().err, "0 MiB free", "checkpoints need about", "Free some space")
    assert files(folder) == {"begun.json", "train.yaml"}


# --- commands


def test_the_training_command_ends_with_a_paragraph(prepared, tmp_path, capsys, monkeypatch):
    from espnet_s3router.bin import asr_train

    options = prepared.options(tmp_path / "exp", upstream="wav2vec3", upstream_path=None)
    job = job_in(options)
    command = single_run.train_options(job.log.parent, options)
    monkeypatch.setattr(sys, "argv", ["asr_train", *command])
    assert exit_status(asr_train.main)() == 1
    assert_message(capsys.readouterr().err.split("error: ")[-1], "'wav2vec3'")
    assert files(job.log.parent) == {"train.yaml"}


def test_bake(tmp_path, capsys):
    from espnet_s3router.cli.main import main

    (tmp_path / "config.yaml").write_text("frontend: s3prl\n", encoding="utf-8")
    given = [str(tmp_path / name) for name in ("config.yaml", "absent.pth", "baked")]
    assert main(["bake", *given]) == 1
    assert_message(capsys.readouterr().err, "absent.pth: there is no such file", "give the config.yaml and the .pth")
    (tmp_path / "baked").mkdir()
    assert main(["bake", *given]) == 1
    assert_message(capsys.readouterr().err, "baked exists already", "remove it or choose another")
    assert files(tmp_path) == {"config.yaml", "baked"}


def test_bake_of_other_files(tmp_path, capsys):
    """A recipe's configuration instead of the one that training wrote; two files that are not of one experiment."""
    from espnet_s3router.cli.main import main

    config, model = tmp_path / "config.yaml", tmp_path / "model.pth"
    model.write_text("words")
    for text, message in (
        ("frontend: x", "holds no token_list"),
        ("token_list: [a]", "could not be loaded"),
        ("- a", "token_list"),
    ):
        config.write_text(text, encoding="utf-8")
        assert main(["bake", str(config), str(model), str(tmp_path / "baked")]) == 1
        assert_message(capsys.readouterr().err, message, "xpected the config.yaml")
    assert files(tmp_path) == {"config.yaml", "model.pth"}


@pytest.mark.parametrize("command", ["asr_train", "asr_inference"])
def test_files_that_are_not_there(command, tmp_path, monkeypatch, capsys):
    import importlib

    main = importlib.import_module(f"espnet_s3router.bin.{command}").main
    options = {"asr_train": ["--config", str(tmp_path)]}
    options["asr_inference"] = ["--asr_train_config", str(tmp_path / "no.yaml"), "--asr_model_file", "no.pth"]
    options["asr_inference"] += ["--output_dir", str(tmp_path / "out"), "--data_path_and_name_and_type", "a,speech,sound"]
    monkeypatch.setattr(sys, "argv", [command, *options[command]])
    assert exit_status(main)() == 1
    assert "error: " in (message := capsys.readouterr().err) and str(tmp_path) in message


@pytest.mark.parametrize("words", [["--ctc_best_path=yes"], ["--ctc-best-path", "yes"], ["--ctc_best_path"]])
def test_best_path_is_true_or_false(words):
    from espnet_s3router.bin.asr_inference import main
    from espnet_s3router.errors import InputError

    with pytest.raises(InputError, match="--ctc_best_path is .*, expected true or false"):
        main(words)


def test_the_users_own_data_leave_the_main_job_alone(recipes):
    """Otherwise its token list would replace that of the recordings, and its experiments would have the same names."""
    choose = ". ../../TEMPLATE/router1/common.sh; rest=(--train-set mine); . ../choices.sh; "
    choose += 'echo "${tag}:${results}:${corpus[*]}"'
    message = recipes.run("bash", "-c", choose, lang="en", model="whisper_tiny_en", ASTERISK="downloads").stdout
    assert message.startswith("whisper_tiny_en_mine:RESULTS_mine:--lang mine ")


@pytest.mark.parametrize(
    ("lang", "model", "tag", "results"),
    [
        ("en", "whisper_tiny_en", "whisper_tiny_en", "RESULTS"),
        ("en", "hubert_mini", "", "RESULTS_hubert_mini"),
        ("es", "whisper_tiny_en", "whisper_tiny_en_es", "RESULTS_es"),
        ("es", "hubert_mini", "es", "RESULTS_hubert_mini_es"),
    ],
)
def test_experiments_of_another_language_are_others(recipes, lang, model, tag, results):
    """Experiment folders differ by name alone: one of another language would count as finished."""
    choose = '. ../../TEMPLATE/router1/common.sh; . ../choices.sh; echo "${tag}:${results}:${corpus[*]}"'
    message = recipes.run("bash", "-c", choose, lang=lang, model=model, ASTERISK="downloads").stdout
    assert message.startswith(f"{tag}:{results}:") and f"--train_set train_10min_{lang} " in message
    assert f"--unseen data/test_{lang}/utt_unseen" in message


@pytest.mark.parametrize(
    ("words", "known"),
    [
        ('--test_sets "dev test"', False),
        ("--train-set mine", False),
        ('--test-sets "dev_en test_en other" --train_set train_10min_en', True),
    ],
)
def test_what_was_not_seen_in_training_is_known_of_the_corpus_alone(recipes, words, known):
    """With sets of one's own the file is not there, which a table would say after all training."""
    choose = f'. ../../TEMPLATE/router1/common.sh; rest=({words}); . ../choices.sh; echo "${{corpus[*]}}"'
    message = recipes.run("bash", "-euc", choose, lang="en", model="hubert_mini", ASTERISK="downloads").stdout
    assert ("--unseen" in message) == known
