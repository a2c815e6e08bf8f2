"""The configuration of egs3/s3router/asterisk/asr has the values of the egs2 recipe."""

from pathlib import Path

import yaml

from espnet_s3router.experiments.grid import specs_of
from espnet_s3router.experiments.options import Options

ROOT = Path(__file__).parents[2]
EGS2 = ROOT / "egs2/s3router/asterisk/asr1/conf"
EGS3 = ROOT / "egs3/s3router/asterisk/asr/conf"
PREFIX = "${egs2}/"


def read(name):
    return yaml.safe_load((EGS3 / name).read_text("utf-8"))


def test_same_model_optimiser_schedule_and_batches():
    files = [EGS2 / "train_asr.yaml", EGS2 / "upstream/whisper_tiny_en.yaml"]
    rows = [EGS2 / "methods.yaml", EGS2 / "methods/whisper_tiny_en.yaml"]
    options = Options(
        recipe="any",
        train_set="t",
        valid_set="v",
        test_sets=("v",),
        methods=("routing",),
        asr_config=tuple(map(str, files)),
        methods_config=tuple(map(str, rows)),
    )
    (spec,) = specs_of(options)
    egs2, egs3 = dict(spec.config), read("training.yaml")
    model = egs3["model"]
    source = model["frontend_conf"]["frontend_conf"]
    source["path_or_url"] = source["path_or_url"].removeprefix(PREFIX)
    assert {key: egs2[key] for key in model.keys() - {"token_list"}} == {k: v for k, v in model.items() if k != "token_list"}
    optimizer = egs3["optimizer"]
    assert optimizer["name"] == egs2["optim"] and optimizer["weight_decay"] == 0
    assert {key: optimizer[key] for key in egs2["optim_conf"]} == egs2["optim_conf"]
    scheduler = egs3["scheduler"]
    assert scheduler["name"] == egs2["scheduler"]
    assert {key: scheduler[key] for key in egs2["scheduler_conf"]} == egs2["scheduler_conf"]
    train, valid = (egs3["dataloader"][part]["iter_factory"] for part in ("train", "valid"))
    assert (train["batches"]["type"], train["batches"]["batch_bins"]) == (egs2["batch_type"], egs2["batch_bins"])
    assert (valid["batches"]["type"], valid["batches"]["batch_bins"]) == (egs2["valid_batch_type"], egs2["valid_batch_bins"])
    assert train["num_iters_per_epoch"] == egs2["num_iters_per_epoch"]
    trainer = egs3["trainer"]
    assert (trainer["max_epochs"], trainer["gradient_clip_val"]) == (egs2["max_epoch"], egs2["grad_clip"])
    ((criterion, best, mode),) = egs3["best_model_criterion"]
    assert ([criterion.split("/"), best, mode]) == [
        list(egs2["best_model_criterion"][0][:2]), egs2["keep_nbest_models"], egs2["best_model_criterion"][0][2]
    ]  # fmt: skip
    assert egs3["seed"] == egs2["seed"]
    assert read("inference.yaml")["model"]["asr_model_file"] == "${exp_dir}/valid.cer_ctc.ave_1best.pth"
