"""A folder that holds whatever the commands of the documentation name: experiments, routes, recordings, data directories."""

import shutil
from pathlib import Path

import numpy as np
import soundfile
from toy_points import ROW, add_point

from espnet_s3router.cli.main import main
from espnet_s3router.data.data_dir import DataDir, write_data_dir
from espnet_s3router.results.rows import put_rows
from tests.docs.test_espnet_page import CALLS
from tests.plugin.conftest import write_untrained

ROOT = Path(__file__).parents[2]
MODEL = "valid.cer_ctc.ave.pth"
FACTS = ["--corpus", "toy/asr1", "--licence", "CC0-1.0"]
HJ = {"method": "hj", "sparsity": 0.4, "closed": 0.3, "updates": 4}
INTENTS = {"encoder": "mean_pooling", "token_type": "word"}
SENTENCES = [f"sentence {number}" for number in range(30)]


def call(*words):
    """Run ``s3router``."""
    assert main(list(map(str, words))) == 0, words


def copy_run(run, folder, model):
    """A copy of a finished run, whose model has the name that recipes give it."""
    folder.mkdir(parents=True)
    shutil.copy(run / "config.yaml", folder)
    shutil.copy(run / model, folder / MODEL)


def build(folder, trained, write_experiment, corpus):
    """Fill ``folder``. ``trained`` and ``write_experiment`` are the fixtures of tests.plugin."""
    from espnet_s3router.bin.asr_train import main as train
    from espnet_s3router.plugin.deployment.route import speech_like
    from espnet_s3router.plugin.deployment.route import write_experiment as write_route

    here = folder / "here"
    (folder / "work").mkdir(parents=True)
    copy_run(trained("routing"), here / "exp/asr", "2epoch.pth")
    for name in ("asr_finetune_seed0", "asr_routing_s0.2_seed0", "asr_routing_s0.08_seed0"):
        method = name.split("_")[1]
        add_point(here / "exp", name, method, 2 + len(name) % 3, sparsity=None if method == "finetune" else 0.1, seed=0,
                  variant=name, sets=("test", "test_en"))  # fmt: skip
        shutil.copy(here / "exp/asr/config.yaml", here / "exp" / name)
        shutil.copy(here / "exp/asr" / MODEL, here / "exp" / name)
    copy_run(trained("routing"), here / "exp/asr_routing", "2epoch.pth")
    for name, model in {"nl": "2epoch.pth", "de": "1epoch.pth", "es": "1epoch.pth"}.items():
        files = (trained("routing") / "config.yaml", trained("routing") / model, here / f"{name}.route")
        write_route(*files, metadata={"language": name, "corpus": "toy/asr1", "licence": "CC0-1.0"})

    # a run of HJ-Pruning, and one of several languages
    (folder / "work/hj").mkdir()
    start = str(trained("finetune") / "1epoch.pth")
    train(write_experiment(folder / "work/hj", mask_conf={**HJ, "start": start}, max_epoch=2))
    copy_run(folder / "work/hj/exp", here / "exp/asr_hj", "2epoch.pth")
    (folder / "work/joint").mkdir()
    joint = {"mask_conf": {"method": "pathways", "sparsity": 0.2, "languages": ["nl", "es"]}}
    copy_run(write_untrained(write_experiment, folder / "work/joint", **joint), here / "exp/joint", "1epoch.pth")

    # a route of intents
    tokens = folder / "work/words.txt"
    tokens.write_text("<blank>\n<unk>\nVM\nCONF\nten\n<sos/eos>\n")
    (folder / "work/intents").mkdir()
    conf = {"token_list": str(tokens), "mask_conf": {"method": "routing", "sparsity": 0.2}, **INTENTS}
    run = write_untrained(write_experiment, folder / "work/intents", **conf)
    write_route(run / "config.yaml", run / "1epoch.pth", here / "services.route", decoding={"intents": True})

    for bank, names in {"routes": ("nl", "es", "services"), "exp/routes": ("nl", "es", "en", "services")}.items():
        (here / bank).mkdir()
        for name in names:
            shutil.copy(here / f"{'nl' if name == 'en' else name}.route", here / bank / f"{name}.route")

    # audio and text
    wave = speech_like(1.6).numpy()
    spoken = [f"{lang}.wav" for lang in ("en", "es", "fr", "it", "ru")]
    for name in ("a.wav", "b.wav", "b.flac", "b.mp3", "lecture.wav", *spoken):
        soundfile.write(here / name, wave, 16000)
    wav = {f"utt{number}": str(corpus / f"utt{number}.wav") for number in range(8)}
    text = {f"utt{number}": "AB" if number % 2 else "BA" for number in range(8)}
    for name in (
        "data/train_en",
        "data/train_es",
        "dump/raw/dev",
        "dump/raw/test_en",
        "dump/raw/test_nl",
        "dump/raw/test_es",
    ):
        own = [f"{name[-2:]}-{utt}" for utt in wav]
        columns = (dict(zip(own, column)) for column in (wav.values(), text.values(), ["s"] * 8))
        write_data_dir(here / name, DataDir(*columns))
    for number, sentence in enumerate(SENTENCES):
        (folder / "recordings/anna").mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"recordings/anna/{number:03d}.wav", np.zeros(800), 16000)
        (folder / f"recordings/anna/{number:03d}.txt").write_text(sentence, encoding="utf-8")
    for name in ("data/test", "data/test_entities", "DIR"):
        (here / name).mkdir()
        (here / name / "text").write_text("utt1 VM ten\nutt2 CONF\n", encoding="utf-8")
    (here / "results").mkdir()
    put_rows(here / "exp/results.tsv", [ROW])
    (here / "asr.sh").write_text(CALLS, encoding="utf-8")
    shutil.copy(ROOT / "docs/cer_against_sparsity.png", here / "exp")
    for name in ("asr1", "multi1", "de"):  # neighbours of a recipe
        (folder / name).symlink_to("here")
    return here


def known_licence(here):
    """``europe.zip`` as its maker packs it who knows the licence of the base."""
    call("pack", "routes", here / "europe.zip", here / "nl.route", here / "de.route", "--base_licence", "MIT")


def best_pack(here):
    """The pack that stage 14 writes."""
    call("pack", "routes", here / "exp/packs/RUN.zip", here / "nl.route", "--base_licence", "MIT")


def smaller_model(here):
    """The result of ``s3router shrink``."""
    call("shrink", here / "exp/asr_hj", "--out", here / "exp/asr_hj_small")


def only_languages(here):
    """A bank of languages alone."""
    (here / "routes/services.route").unlink()


def joint_run(here):
    """``exp/asr`` as a run of several languages."""
    shutil.rmtree(here / "exp/asr")
    shutil.copytree(here / "exp/joint", here / "exp/asr")


def routes_of_runs(here):
    """Routes in experiment folders, as stage 17 leaves them. The other recipe is a neighbour."""
    for name in ("nl", "de"):
        shutil.copy(here / f"{name}.route", here / "exp/asr")
    shutil.rmtree(here / "exp/routes")
