"""Recipes end to end: a copy of egs2/s3router to run in, a made-up corpus, and commands as a user calls them.

Importing ESPnet takes 10 to 15 seconds in every process. Tests therefore call the commands of the package in their own
process where they can (``call``), and grids that run there share one run server. Processes remain where a test kills them,
where it runs a script, and where stock ESPnet must not see this package.
"""

import atexit
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
OUTPUTS = ("data", "dump", "exp", "downloads")
"""Folders that recipes make."""
LETTERS = "abcd"
SETS = {"train": 8, "dev": 2, "test": 2}
FS = 16000
LONGEST_S = 600  # seconds until a test gives a command up


SHARED_FIXTURES = {name: name for name in ("prepared_recipes", "deployed", "trained", "first_call", "slurm")}
"""Fixtures that take long to make -> group of the tests that share one. A group runs in one process of pytest-xdist."""
SHARED_FIXTURES["speech"] = "first_call"  # which it asks for itself


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for name, group in SHARED_FIXTURES.items():
                if name in item.fixturenames:
                    item.add_marker(pytest.mark.xdist_group(f"recipes: {group}"))
                    break


@dataclass
class Recipes:
    """A copy of the recipes below ``root``; ``run`` calls a command in the folder ``recipe`` of it."""

    root: Path
    recipe: str = "asterisk/asr1"
    env: dict[str, str] = field(default_factory=dict)

    @property
    def here(self):
        return self.root / "egs2" / "s3router" / self.recipe

    def environment(self, **changes):
        """This interpreter first on PATH, the copy and the repository importable."""
        binaries = Path(sys.executable).parent
        env = os.environ | {
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": str(binaries.parent),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            **self.env,
            **changes,
        }
        return env

    def run(self, *command, check=True, **changes):
        """Run a command; its output (both streams) is in the message when it fails although ``check``."""
        done = subprocess.run(
            list(map(str, command)),
            cwd=self.here,
            env=self.environment(**changes),
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        output = f"{done.stdout}\n{done.stderr}"
        assert not check or done.returncode == 0, f"exit code {done.returncode}\n{output[-6000:]}{logs(self.here)}"
        return done

    def start(self, *command, **changes):
        """Start a command in its own process group and return."""
        return subprocess.Popen(
            list(map(str, command)),
            cwd=self.here,
            env=self.environment(**changes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill_when(self, reached, experiment, *command):
        """Start a command, kill its process group as soon as ``reached()``, and wait until no process works on the folder
        ``experiment``: the process of a run ends with the process that started it."""
        process = self.start(*command)
        limit = time.monotonic() + LONGEST_S
        try:
            while not reached():
                assert process.poll() is None and time.monotonic() < limit, "the run ended or hung before it was killed"
                time.sleep(0.005)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        while not is_free(experiment):
            assert time.monotonic() < limit, "the run outlived the stage that started it"
            time.sleep(0.01)


def is_free(experiment):
    """True if no process works on an experiment folder."""
    from espnet_s3router.errors import InputError
    from espnet_s3router.experiments.single.run import locked_folder

    try:
        with locked_folder(experiment):
            return True
    except InputError:
        return False


@dataclass(frozen=True)
class Called:
    """How a command ended that ran in this process."""

    returncode: int
    stdout: str
    stderr: str


def call(main, words):
    """Run the ``main`` of a command in this process."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with redirect_stdout(stdout), redirect_stderr(stderr):
        code = main(words)
    return Called(code, stdout.getvalue(), stderr.getvalue())


def logs(folder):
    """The ends of all run.log below a folder, for messages."""
    return "".join(f"\n== {path}\n{path.read_text('utf-8')[-3000:]}" for path in folder.glob("exp*/*/run.log"))


def copy_recipes(root):
    """egs2/s3router without what recipes make, and local/, below ``root``."""
    shutil.copytree(ROOT / "egs2/s3router", root / "egs2/s3router", symlinks=True, ignore=shutil.ignore_patterns(*OUTPUTS))
    (root / "local").symlink_to(ROOT / "local")
    return Recipes(root)


@pytest.fixture(scope="session")
def copying():
    """``copy_recipes``, for fixtures of a wider scope."""
    return copy_recipes


@pytest.fixture(scope="session", autouse=True)
def shared_run_server():
    """Grids in this process leave their run server to the next grid, which saves the import of ESPnet."""
    from espnet_s3router.experiments import deploy, grid, sweep, upstream_check
    from espnet_s3router.experiments.workers import cluster, worker

    with pytest.MonkeyPatch.context() as patch:
        for module in (cluster, deploy, grid, sweep, upstream_check):
            patch.setattr(module, "close_servers", lambda: None)
        yield
    worker.close_servers()


@pytest.fixture
def recipes(tmp_path):
    """A fresh copy of the recipes."""
    return copy_recipes(tmp_path)


NOTE = f"""#!{sys.executable}
# Stands for --python: runs what checks options and the environment, and only notes all other commands.
import json, os, shutil, sys
words = sys.argv[1:]
if words[0] == "-c" or words[1].endswith(".options"):
    os.execv("{sys.executable}", ["{sys.executable}", *words])
notes = os.environ["NOTES"]
if "--options" in words:  # a temporary file
    at = words.index("--options") + 1
    words[at] = shutil.copy(words[at], notes + "_" + os.path.basename(words[at]))
with open(notes, "a") as file:
    file.write(json.dumps(words) + "\\n")
"""


@pytest.fixture
def commands(recipes, tmp_path):
    """commands(recipe, *options, **environment) -> the command lines that a recipe gives to Python, without running any."""
    python = tmp_path / "a folder/python"
    python.parent.mkdir()
    python.write_text(NOTE, encoding="utf-8")
    python.chmod(0o755)

    def call(recipe, *options, **environment):
        recipes.recipe = recipe
        notes = tmp_path / "notes"
        recipes.run("./run.sh", "--python", python, "--unseen", "", *options, NOTES=str(notes), **environment)
        return [json.loads(line) for line in notes.read_text("utf-8").splitlines()]

    return call


def sound(text, rng):
    """A syllable for each letter: a tone of its own, swelling and fading, with noise on it; 0.2 s a letter."""
    syllable = np.arange(FS // 5) / FS
    envelope = np.sin(np.pi * syllable / syllable[-1])
    tones = [np.sin(2 * np.pi * (250 + 220 * LETTERS.find(letter)) * syllable) * envelope for letter in text]
    return 0.3 * np.concatenate(tones) * (1 + 0.1 * rng.standard_normal(len(tones) * len(syllable)))


def write_corpus(folder):
    """``folder``/{train,dev,test}: wav.scp, text, utt2spk, spk2utt of twelve utterances of about a second."""
    import soundfile

    rng = np.random.default_rng(0)
    for name, size in SETS.items():
        (folder / name / "wav").mkdir(parents=True)
        keys = [f"{name}-{number:02d}" for number in range(size)]
        texts = {key: "".join(rng.choice(list(LETTERS + " "), 5)).strip().replace("  ", " ") or "ab" for key in keys}
        texts[keys[0]] = f"{LETTERS[:3]} {LETTERS[3:]}"  # every letter and a space occur in each set
        for key, text in texts.items():
            soundfile.write(folder / name / "wav" / f"{key}.wav", sound(text, rng), FS, subtype="PCM_16")
        tables = {
            "wav.scp": {key: folder / name / "wav" / f"{key}.wav" for key in keys},
            "text": texts,
            "utt2spk": dict.fromkeys(keys, name),
            "spk2utt": {name: " ".join(keys)},
        }
        for file, table in tables.items():
            lines = "".join(f"{key} {value}\n" for key, value in table.items())
            (folder / name / file).write_text(lines, encoding="utf-8")
    return folder


# An untrained model never ends a sentence: at most 12 letters each keep decoding short.
MAIN_JOB = (
    "--model",
    "hubert_mini",
    *("--methods", "head_only routing", "--sparsities", "0.1", "--inference_args", "--beam_size 1 --maxlenratio -12"),
    *("--asr_args", "max_epoch=1 num_iters_per_epoch=2 scheduler_conf.max_steps=2"),
)


@pytest.fixture(scope="session")
def first_call(tmp_path_factory, copying):
    """(recipes, output of the first call of asterisk/asr1 with ``MAIN_JOB``). The recordings come from ASTERISK, or apt."""
    recipes = copying(tmp_path_factory.mktemp("asterisk"))
    if "ASTERISK" not in os.environ and not shutil.which("apt-get"):
        pytest.skip("no apt-get to download the recordings with: set ASTERISK to the folder of the unpacked packages")
    if "ASTERISK" in os.environ:
        recipes.env["ASTERISK"] = str(Path(os.environ["ASTERISK"]).resolve())
    done = recipes.run("./run.sh", *MAIN_JOB, check=False)
    if "none of the two sources worked" in done.stderr:
        pytest.skip(f"the recordings cannot be downloaded here (set ASTERISK to their folder): {done.stderr[-500:]}")
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return recipes, done.stdout


@pytest.fixture(scope="session")
def speech(request):
    """Four recorded prompts (samples,) at 16 kHz. Empty where they cannot be downloaded."""
    from toy_audio import recorded_speech

    try:
        recipes, _ = request.getfixturevalue("first_call")
    except pytest.skip.Exception:
        return []
    return [wave.numpy() for wave in recorded_speech(4, recordings_of(recipes))]


def recordings_of(recipes):
    """The folder of the recordings that asterisk/asr1 takes."""
    return Path(recipes.env.get("ASTERISK", recipes.root / "egs2/s3router/asterisk/asr1/downloads/asterisk"))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """The made-up corpus, to be linked to as ``data/``."""
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def toy_upstream(tmp_path_factory):
    """``frontend_conf`` of a wav2vec 2.0 of a few thousand parameters."""
    from toys import wav2vec2

    return wav2vec2(tmp_path_factory.mktemp("toy_upstream"))


TOY_ARGS = (
    "frontend_conf.cache_frozen=0 frontend_conf.dropout=upstream frontend_conf.frontend_conf.normalize=false "
    "frontend_conf.latent_masking.channel_length=2 batch_bins=40000 log_interval=10 "
    "optim_conf.lr=0.01 optim_conf.head_lr=0.01 scheduler_conf.max_steps=40"
)


@dataclass(frozen=True)
class Prepared:
    """Stages 3 to 5 and 10 are done on the made-up corpus, in the folder ``here`` of a recipe."""

    recipes: Recipes
    toy_upstream: dict

    @property
    def here(self):
        return self.recipes.here

    def options(self, expdir, **changes):
        """Options of a grid on the toy upstream; None leaves the default of an option."""
        from espnet_s3router.experiments.options import Options

        return Options.parse(self.arguments(expdir, **changes))

    def arguments(self, expdir, *, asr_args="", **changes):
        """``options`` as words of a command line."""
        conf = self.here / "conf"
        options = {
            "stage": 11,
            "stop_stage": 13,
            "recipe": "toy/asr1",
            "asr_config": conf / "train_asr.yaml",
            "methods_config": conf / "methods.yaml",
            "methods": "routing",
            "sparsities": "0.1",
            "inference_config": conf / "decode_ctc.yaml",
            "inference_args": "",
            "inference_tag": "decode",
            "dumpdir": self.here / "dump",
            "expdir": expdir,
            "asr_stats_dir": self.here / "exp/stats",
            "train_set": "train",
            "valid_set": "dev",
            "test_sets": "dev test",
            "upstream": self.toy_upstream["upstream"],
            "upstream_path": self.toy_upstream["path_or_url"],
            "asr_args": f"{TOY_ARGS} {asr_args}",
            **changes,
        }
        return [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]

    def words(self, expdir, **changes):
        """The command line of a grid or a sweep with ``options``, which are in a file then."""
        return as_words(self.options(expdir, **changes))


OPTIONS = tempfile.TemporaryDirectory(prefix="s3router_test_options_")
atexit.register(OPTIONS.cleanup)


def as_words(options):
    """The command line that hands over options, in a file that goes when this process ends."""
    path = Path(OPTIONS.name) / f"{hashlib.sha256(options.text().encode()).hexdigest()[:16]}.yaml"
    options.write(path)
    return ["--options", str(path)]


@pytest.fixture(scope="session")
def prepared_recipes(tmp_path_factory, corpus, toy_upstream):
    """The made-up corpus formatted, filtered, with tokens and statistics, once for all tests that only read them."""
    from espnet_s3router.experiments.grid import main

    recipes = copy_recipes(tmp_path_factory.mktemp("prepared"))
    (recipes.here / "data").mkdir()
    for name in SETS:
        (recipes.here / "data" / name).symlink_to(corpus / name)
    made = Prepared(recipes, toy_upstream)
    datadir = (sys.executable, "-m", "espnet_s3router.data")
    for name in SETS:  # absolute, so that any working folder does
        recipes.run(*datadir, "format", f"data/{name}", made.here / f"dump/raw/{name}", "--nj", "1")
    (made.here / "dump/raw/whole").symlink_to(".")  # nothing is filtered here
    options = made.options(made.here / "exp", stage=10, stop_stage=10)
    recipes.run(*datadir, "tokens", "dump/raw/train", options.token_list)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.here)
        done = call(main, as_words(options))
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def prepared(prepared_recipes, monkeypatch):
    """``prepared_recipes`` with its recipe as the working folder, where the token list is."""
    monkeypatch.chdir(prepared_recipes.here)
    return prepared_recipes
