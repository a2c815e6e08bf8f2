"""From a user's own data directory to a baked model in stock ESPnet; also run alone on the other Python.

Needs only the fixtures of this folder, so that it shows alone whether an installation works. WHEEL_PYTHON names the
interpreter of an environment with the wheel; the recipes of the wheel then run the stages.
"""

import csv
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.recipes.conftest import Recipes

pytestmark = pytest.mark.filterwarnings("ignore")  # of ESPnet and s3prl, in this process

NAME = "asr_train_routing_s0.1_seed0"
EXP = "my exp"  # a path with a space is a path
ARGS = "max_epoch=1 num_iters_per_epoch=2 scheduler_conf.max_steps=2 optim_conf.head_lr=0.01"

# ESPnet's own decoder where this project is not installed: importing any part of it fails.
STOCK = """
import sys
sys.modules["espnet_s3router"] = None
from espnet2.bin.asr_inference import main
main(sys.argv[1:])
assert not [name for name in sys.modules if name.startswith("espnet_s3router.")]
"""

# As ESPnet's users write it for a frozen upstream in front of an encoder; nothing in it is ours.
OWN_YAML = """
frontend: s3prl
frontend_conf:
    frontend_conf:
        upstream: hf_hubert_custom
        path_or_url: {upstream}
    download_dir: ./hub
    multilayer_feature: true
preencoder: linear
preencoder_conf: {{input_size: 256, output_size: 16}}
encoder: transformer
encoder_conf: {{output_size: 16, attention_heads: 2, linear_units: 32, num_blocks: 1, input_layer: conv2d2}}
decoder: transformer
decoder_conf: {{attention_heads: 2, linear_units: 32, num_blocks: 1}}
model_conf: {{ctc_weight: 0.3, lsm_weight: 0.1, extract_feats_in_collect_stats: false}}
specaug: specaug
specaug_conf: {{apply_time_warp: false, apply_time_mask: false, freq_mask_width_range: [0, 4], num_freq_mask: 1}}
normalize: utterance_mvn
optim: adam
optim_conf: {{lr: 0.001}}
scheduler: warmuplr
scheduler_conf: {{warmup_steps: 10}}
batch_type: unsorted
batch_size: 2
num_iters_per_epoch: 2
max_epoch: 1
num_workers: 0
best_model_criterion: [[valid, acc, max]]
keep_nbest_models: 1
"""


def from_the_wheel(python, folder):
    """The recipes that ``s3router recipe init`` writes into an empty folder. The environment of the wheel runs them."""
    binaries = Path(python).parent
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "VIRTUAL_ENV": str(binaries.parent), "PYTHONPATH": ""}
    options = {"cwd": folder, "env": os.environ | environment, "text": True}
    code = "import espnet_s3router; print(espnet_s3router.__file__)"
    place = subprocess.check_output([python, "-c", code], **options)
    assert Path(place).is_relative_to(binaries.parent)
    subprocess.run([binaries / "s3router", "recipe", "init", "mine"], check=True, **options)
    return Recipes(folder / "mine", env=environment)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, corpus, copying):
    """``run.sh`` of the main recipe, from stage 3 to the table, on a data directory of the user's own."""
    folder = tmp_path_factory.mktemp("a smoke")
    python = os.environ.get("WHEEL_PYTHON")
    recipes = from_the_wheel(python, folder) if python else copying(folder)
    shutil.copytree(corpus, recipes.here / "data")
    done = recipes.run(
        *("./run.sh", "--model", "hubert_mini", "--local-data", "", "--stage", "3", "--expdir", EXP),
        *("--train_set", "train", "--valid_set", "dev", "--test_sets", "dev test"),
        *("--methods", "routing", "--sparsities", "0.1", "--parallel", "1", "--asr_args", ARGS),
        *("--inference_args", "--penalty 4"),  # a barely trained model gives blanks alone; this makes it speak
    )
    return recipes, done


def read_table(path):
    return dict(line.partition(" ")[::2] for line in path.read_text("utf-8").splitlines())


def test_stages_3_to_13(trained):
    recipes, done = trained
    experiment = recipes.here / EXP / NAME
    assert "0 of 1 runs finished before" in done.stdout
    assert "routing" in done.stdout.split(f"numbers: {EXP}/results.tsv")[0]
    with (recipes.here / EXP / "results.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {(row["set"], row["metric"]) for row in rows} >= {(s, m) for s in ("dev", "test") for m in ("cer", "wer")}
    assert {(row["method"], row["upstream"], row["updates"]) for row in rows} == {("routing", "s3router_hubert_mini", "2")}
    for name in ("dev", "test"):
        hypotheses = read_table(experiment / "decode_ctc" / name / "text")
        assert hypotheses.keys() == read_table(recipes.here / f"data/{name}/text").keys()
        assert (experiment / f"decode_ctc/{name}/score_cer/result.txt").is_file()
    assert (recipes.here / EXP / "cer_against_sparsity.png").stat().st_size > 1000


def test_packs_open_elsewhere(trained, tmp_path, monkeypatch):
    """ESPnet opens the baked one through its model zoo before it is written; all kinds give one text from another folder."""
    from espnet_s3router import Speech2Text
    from espnet_s3router.cli.main import main

    recipes, _ = trained
    monkeypatch.chdir(recipes.here)
    files = [str(recipes.here / EXP / NAME / name) for name in ("config.yaml", "valid.cer_ctc.ave.pth")]
    (line, *_) = (recipes.here / "dump/raw/test/wav.scp").read_text("utf-8").splitlines()
    audio = str((recipes.here / line.split(maxsplit=1)[1]).resolve())
    assert main(["pack", "baked", str(tmp_path / "a.zip"), *files, "--language", "xx", "--audio", audio]) == 0
    assert main(["route", "write", *files, str(tmp_path / "xx.route"), "--language", "xx"]) == 0
    assert main(["pack", "routes", str(tmp_path / "b.zip"), str(tmp_path / "xx.route"), "--audio", audio]) == 0
    assert main(["pack", "experiment", str(tmp_path / "c.zip"), *files, "--language", "xx", "--audio", audio]) == 0
    (tmp_path / "moved").mkdir()
    monkeypatch.chdir(tmp_path / "moved")
    moved = [shutil.move(tmp_path / name, ".") for name in ("a.zip", "b.zip", "c.zip")]
    assert len({Speech2Text.from_pretrained(pack)(audio)[0][0] for pack in moved}) == 1
    espnet_opens(moved[0], audio, tmp_path / "cache", monkeypatch)


def espnet_opens(pack, audio, cache, monkeypatch):
    """``espnet.load`` of ESPnet 202611 and later opens a baked pack as it opens any model for asr."""
    try:
        from espnet import load
    except ImportError:
        return
    import espnet_model_zoo.downloader as zoo
    import soundfile

    monkeypatch.setattr(zoo.ModelDownloader.__init__, "__defaults__", (cache,))
    speech2text = load(str(pack), task="asr", device="cpu", ctc_weight=1.0, beam_size=2)
    assert type(speech2text.asr_model.frontend).__name__ == "S3prlFrontend"
    assert isinstance(speech2text(soundfile.read(audio, dtype="float32")[0])[0][0], str)


def test_a_checkpoint_holds_scores_and_head_only(trained):
    import torch

    recipes, _ = trained
    state = torch.load(recipes.here / EXP / NAME / "valid.cer_ctc.ave.pth", weights_only=True)
    kinds = {key.rsplit(".", 1)[-1] if "frontend." in key else key.split(".")[0] for key in state}
    assert kinds == {"scores", "base_fingerprint", "ctc"}


def test_the_baked_model_decodes_alike_in_stock_espnet(trained, monkeypatch):
    from espnet_s3router.cli.main import main

    recipes, _ = trained
    monkeypatch.chdir(recipes.here)
    experiment = recipes.here / EXP / NAME
    model = experiment / "valid.cer_ctc.ave.pth"
    assert main(["bake", str(experiment / "config.yaml"), str(model), "baked"]) == 0
    config = yaml.safe_load((recipes.here / "baked/config.yaml").read_text("utf-8"))
    assert config["frontend"] == "s3prl"  # and its upstream is found from any folder
    assert config["frontend_conf"]["frontend_conf"]["path_or_url"] == str(recipes.here / "baked/s3router_hubert_mini")
    recipes.run(
        *(sys.executable, "-c", STOCK, "--asr_train_config", "baked/config.yaml", "--asr_model_file", "baked/model.pth"),
        *("--config", "conf/decode_ctc.yaml", "--penalty", "4", "--num_workers", "0", "--output_dir", "stock"),
        *("--data_path_and_name_and_type", "dump/raw/test/wav.scp,speech,sound"),
        PYTHONPATH="",
    )
    stock = recipes.here / "stock/1best_recog"
    ours = experiment / "decode_ctc/test"
    assert read_table(stock / "text") == read_table(ours / "text")
    assert any(read_table(stock / "text").values())  # not merely silence on both sides
    # "tensor(1.0000)": the sum of the same logarithms, rounded to four places
    scores = [[float(text[7:-1]) for text in read_table(folder / "score").values()] for folder in (stock, ours)]
    np.testing.assert_allclose(*scores, rtol=1e-5)


def test_one_word_of_a_users_own_yaml(trained, monkeypatch):
    """README: ``frontend: s3prl`` becomes ``masked_upstream``; without a mask_conf it routes at 0.08."""
    import torch

    from espnet_s3router.bin.asr_train import main
    from espnet_s3router.upstreams import EMBEDDED

    recipes, _ = trained
    monkeypatch.chdir(recipes.here)
    text = textwrap.dedent(OWN_YAML).format(upstream=EMBEDDED["s3router_hubert_mini"][1])
    changed = text.replace("frontend: s3prl", "frontend: masked_upstream", 1)
    (recipes.here / "own.yaml").write_text(changed, encoding="utf-8")
    data = []
    for part, name in (("train", "train"), ("valid", "dev")):
        data += [f"--{part}_data_path_and_name_and_type", f"dump/raw/{name}/wav.scp,speech,sound"]
        data += [f"--{part}_data_path_and_name_and_type", f"dump/raw/{name}/text,text,text"]
        data += [f"--{part}_shape_file", f"dump/raw/{name}/utt2num_samples"]
    command = ["--config", "own.yaml", "--output_dir", "own", *data, "--use_preprocessor", "true", "--token_type", "char"]
    command += ["--token_list", "data/train_token_list/char/tokens.txt"]
    main(command)
    main([*command, "--max_epoch", "2", "--resume", "true"])  # a checkpoint that this version of ESPnet reads again
    epochs = (recipes.here / "own/progress.tsv").read_text("utf-8").splitlines()[1:]
    assert [line.split("\t")[0] for line in epochs] == ["1", "2"]
    state = torch.load(recipes.here / "own/valid.acc.ave_1best.pth", weights_only=True)
    scores = {key: value for key, value in state.items() if key.endswith(".scores")}
    assert scores and all("fc" in key or "dense" in key for key in scores)  # feed-forward matrices
    masks = (recipes.here / "own/masks.tsv").read_text("utf-8").splitlines()
    sparsity = dict(zip(masks[0].split("\t"), masks[-1].split("\t")))["sparsity"]
    assert np.isclose(float(sparsity), 0.08, atol=1e-4)
