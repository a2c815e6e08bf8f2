"""The stages of an espnet3 recipe on a toy upstream; needs ESPnet 202611 or later, which needs Python 3.12 or later."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

pytest.importorskip("espnet3.components", reason="ESPnet 202611 or later has espnet3")
pytestmark = pytest.mark.filterwarnings("ignore")  # of ESPnet, Lightning and s3prl

RECIPE = Path(__file__).parents[2] / "egs3/s3router/asterisk/asr"


@pytest.fixture
def recipe(tmp_path, corpus, toy_upstream, monkeypatch):
    """A copy of the recipe with the made-up corpus, the toy upstream, and two epochs of two updates."""
    folder = tmp_path / "recipe"
    shutil.copytree(RECIPE, folder, ignore=shutil.ignore_patterns("data", "exp"))
    config = yaml.safe_load((folder / "conf/training.yaml").read_text("utf-8"))
    config["create_dataset"] = {"recipe": str(corpus), "folders": ["train", "dev", "test"]}
    config["dataset"]["train"] = [{"data_src_args": {"folder": "train", "root": str(corpus)}}]
    config["dataset"]["valid"] = [{"data_src_args": {"folder": "dev", "root": str(corpus)}}]
    config["tokenizer"]["train_folder"] = str(corpus / "train")
    config["model"]["frontend_conf"] |= {"frontend_conf": toy_upstream, "cache_frozen": 0}
    config["model"]["frontend_conf"]["mask_conf"] = {"method": "routing", "sparsity": 0.2}
    config["dataloader"]["train"]["iter_factory"]["num_iters_per_epoch"] = 2
    config["scheduler"]["max_steps"] = 4
    config["optimizer"]["lr"] = 0.1
    config["trainer"] |= {"max_epochs": 2, "accelerator": "cpu"}
    (folder / "conf/training.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    inference = yaml.safe_load((folder / "conf/inference.yaml").read_text("utf-8"))
    inference["dataset"]["test"] = [{"name": "test", "data_src_args": {"folder": "test", "root": str(corpus)}}]
    (folder / "conf/inference.yaml").write_text(yaml.safe_dump(inference), encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


ROLES = ("training", "inference", "metrics", "publication")


def launch(*stages):
    from espnet3.systems.launch import launch as espnet_launch

    from espnet_s3router.espnet3.system import S3RouterASRSystem

    configs = [word for role in ROLES for word in (f"--{role}_config", f"conf/{role}.yaml")]
    espnet_launch(S3RouterASRSystem, conf_package="egs3.TEMPLATE.esp2_asr", argv=["--stages", *stages, *configs])


def test_from_data_to_a_pack(recipe, corpus):
    import torch

    from espnet_s3router import Speech2Text

    launch("create_dataset", "train_tokenizer", "collect_stats", "train", "infer", "measure", "pack_model", "upload_model")
    exp = recipe / "exp/training"
    tokens = (recipe / "data/char/tokens.txt").read_text("utf-8").split("\n")
    assert tokens[0] == "<blank>" and {"a", "b", "c", "d"} < set(tokens)
    described = json.loads((exp / "model.json").read_text("utf-8"))
    assert described["sparsity"]["masked"] == pytest.approx(0.2, abs=0.01)
    state = torch.load(exp / "valid.cer_ctc.ave_1best.pth", weights_only=True)
    assert any(key.endswith(".scores") for key in state)
    assert not any(key.endswith("fc1.weight") for key in state)  # the base is not stored
    lines = (exp / "inference/test/text.scp").read_text("utf-8").splitlines()
    assert len(lines) == len((corpus / "test/text").read_text("utf-8").splitlines())
    metrics = json.loads((exp / "inference/metrics.json").read_text("utf-8"))
    assert any("cer" in key.lower() for key in metrics)
    pack = shutil.move(exp / "model_pack", recipe / "moved")
    expected = " ".join(lines[0].split()[1:])  # without repeated spaces
    assert Speech2Text.from_pretrained(pack)(corpus / "test/wav/test-00.wav")[0][0] == expected
    card = (pack / "README.md").read_text("utf-8")
    assert "| en | test | CER |" in card and "CC-BY-SA-3.0" in card
    assert str(recipe) not in card + (pack / "meta.yaml").read_text("utf-8")


def test_a_recipe_that_cannot_be_prepared(tmp_path):
    from espnet_s3router.errors import InputError
    from espnet_s3router.espnet3.dataset import RecipeBuilder

    with pytest.raises(InputError, match="expected a folder below egs2 with a run.sh"):
        RecipeBuilder().prepare_source(str(tmp_path), ["train"])


def test_unknown_names_of_optimiser_and_scheduler():
    import torch

    from espnet_s3router.errors import InputError
    from espnet_s3router.espnet3.training import optimizer, scheduler

    weight = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(InputError, match="optimizer: name is 'adan', expected one of adam"):
        optimizer([weight], "adan", lr=0.1)
    with pytest.raises(InputError, match="scheduler: name is 'tri'"):
        scheduler(optimizer([weight], lr=0.1), "tri")
