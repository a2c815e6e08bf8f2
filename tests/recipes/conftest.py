"""Recipes end to end: a copy of egs2/s3router to run in, a made-up corpus, and commands as a user calls them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
MADE = ("data", "dump", "exp", "downloads")  # by recipes, in their own folder
LETTERS = "abcd"
SETS = {"train": 8, "dev": 2, "test": 2}
FS = 16000
LONGEST_S = 600  # of a command before the test gives up


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
        told = f"{done.stdout}\n{done.stderr}"
        assert not check or done.returncode == 0, f"exit code {done.returncode}\n{told[-6000:]}{logs(self.here)}"
        return done

    def start(self, *command, **changes):
        """Start a command in a process group of its own and go on."""
        return subprocess.Popen(
            list(map(str, command)),
            cwd=self.here,
            env=self.environment(**changes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill_when(self, reached, point, *command):
        """Start a command, kill it with all its workers as soon as ``reached()``, and wait until nobody works on the folder
        ``point`` any more: its own process ends when the one that started it does."""
        process = self.start(*command)
        limit = time.monotonic() + LONGEST_S
        try:
            while not reached():
                assert process.poll() is None and time.monotonic() < limit, "the run ended or hung before it was killed"
                time.sleep(0.005)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        while not unattended(point):
            assert time.monotonic() < limit, "the point outlived the stage that ran it"
            time.sleep(0.01)


def unattended(folder):
    """Whether no process works on a point."""
    from espnet_s3router.errors import InputError
    from espnet_s3router.experiments import run as point

    try:
        with point.alone(folder):
            return True
    except InputError:
        return False


def logs(folder):
    """The ends of all run.log below a folder, for messages."""
    return "".join(f"\n== {path}\n{path.read_text('utf-8')[-3000:]}" for path in folder.glob("exp*/*/run.log"))


def copy_recipes(root):
    """egs2/s3router without what recipes make, and local/, below ``root``."""
    shutil.copytree(ROOT / "egs2/s3router", root / "egs2/s3router", symlinks=True, ignore=shutil.ignore_patterns(*MADE))
    (root / "local").symlink_to(ROOT / "local")
    return Recipes(root)


@pytest.fixture(scope="session")
def copying():
    """``copy_recipes``, for fixtures of a wider scope."""
    return copy_recipes


@pytest.fixture
def recipes(tmp_path):
    """A fresh copy of the recipes."""
    return copy_recipes(tmp_path)


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
    """Stages 3 to 5 and 10 done on the made-up corpus; ``here`` is the recipe's folder and stays the working folder."""

    recipes: Recipes
    toy_upstream: dict

    @property
    def here(self):
        return self.recipes.here

    def options(self, expdir, *, asr_args="", **changes):
        """Command line of ``recipe.experiments`` for the toy upstream, absolute paths; None leaves an option out."""
        conf, raw = self.here / "conf", self.here / "dump/raw"
        options = {
            "stage": 11,
            "stop_stage": 13,
            "recipe": "toy/asr1",
            "asr_config": conf / "train_asr.yaml",
            "methods_config": conf / "methods.yaml",
            "methods": "routing",
            "sparsities": "0.1",
            "inference_config": conf / "decode_ctc.yaml",
            "dump": raw,
            "expdir": expdir,
            "stats_dir": self.here / "exp/stats",
            "train_set": "train",
            "valid_set": "dev",
            "test_sets": "dev test",
            "token_list": self.here / "data/tokens.txt",
            "upstream": self.toy_upstream["upstream"],
            "upstream_path": self.toy_upstream["path_or_url"],
            "asr_args": f"{TOY_ARGS} {asr_args}",
            **changes,
        }
        words = []
        for name, value in options.items():
            if value is not None:
                words += [f"--{name}", *str(value).split()]
        return words


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, corpus, toy_upstream):
    """The made-up corpus formatted, filtered, with tokens and statistics, once for all tests that only read them."""
    recipes = copy_recipes(tmp_path_factory.mktemp("prepared"))
    (recipes.here / "data").symlink_to(corpus)
    made = Prepared(recipes, toy_upstream)
    datadir = (sys.executable, "-m", "espnet_s3router.data")
    for name in SETS:  # absolute, so that any working folder does
        recipes.run(*datadir, "format", f"data/{name}", made.here / f"dump/raw/{name}", "--nj", "1")
    (made.here / "dump/raw/whole").symlink_to(".")  # nothing is filtered here
    recipes.run(*datadir, "tokens", "dump/raw/train", corpus / "tokens.txt")
    options = made.options(made.here / "exp", stage=10, stop_stage=10)
    recipes.run(sys.executable, "-m", "espnet_s3router.experiments.grid", *options)
    return made
