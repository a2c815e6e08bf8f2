"""Whole runs of training through the command, and their files."""

import pytest
import torch
from espnet2.tasks.asr import ASRTask

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.checkpoint import FINGERPRINT
from espnet_s3router.plugin.training.task import S3RouterASRTask

SCORES = "frontend.upstream.upstream.model.encoder.layers.0.feed_forward.intermediate_dense.parametrizations.weight.0.scores"


def test_training_writes_slim_files_and_the_log_of_masks(trained_copy, states, tmp_path):
    """A whole run: no file holds the frozen weights, and the scores have moved."""
    trained_copy("routing")
    first, second = states("1epoch.pth"), states("2epoch.pth")
    learned = {key for key in first if key.startswith("frontend.")}
    assert all(key.endswith(("scores", FINGERPRINT)) for key in learned) and len(learned) == 13
    assert not torch.equal(first[SCORES], second[SCORES])
    assert torch.equal(first["frontend." + FINGERPRINT], second["frontend." + FINGERPRINT])
    checkpoint = states("checkpoint.pth")
    assert set(checkpoint["model"]) == set(second)
    rows = [line.split("\t") for line in (tmp_path / "exp" / "masks.tsv").read_text().splitlines()]
    assert rows[0] == ["epoch", "site", "sparsity", "flipped_since_last", "flipped_since_start"]
    assert [row[0] for row in rows if row[1] == "all"] == ["1", "2"] and len(rows) == 1 + 2 * 13
    assert all(float(row[2]) == pytest.approx(0.2, abs=0.002) for row in rows[1:])
    assert float(rows[-1][4]) > 0.0
    assert not list((tmp_path / "exp").glob(".*"))  # nothing half-written is left

    # the averaged model that ESPnet makes at the end decodes with exact masks
    averaged = tmp_path / "exp" / "valid.loss.ave.pth"
    model, _ = S3RouterASRTask.build_model_from_file(tmp_path / "exp" / "config.yaml", averaged, "cpu")
    assert torch.equal(model.state_dict()[SCORES], states("valid.loss.ave.pth")[SCORES])
    for masked in model.frontend.attached.masks.values():
        assert int((~masked.mask).sum()) == int(0.2 * masked.mask.numel() + 0.5)


def test_decoding_with_a_checkpoint_of_another_run_is_refused(trained, untrained):
    """The files of two experiments mixed up (hazard 6), through ESPnet's own loader."""
    other = untrained(mask_conf={"method": "routing", "sparsity": 0.2}) / "1epoch.pth"
    with pytest.raises(InputError, match="lacks 8 of the 13 tensors"):
        ASRTask.build_model_from_file(trained("routing") / "config.yaml", other, "cpu")


def test_adapters_of_espnet_are_saved_and_loaded(experiment, tmp_path):
    """With the weights into which they are merged in evaluation mode; the run is resumed in between."""
    more = {"use_adapter": True, "adapter": "lora", "adapter_conf": {"rank": 2, "target_modules": ["q_proj"]}}
    more |= {"mask_conf": {"method": "head_only"}, "frontend": {"dropout": "upstream"}, "save_strategy": "all"}
    for epochs in (1, 2):
        S3RouterASRTask.main(cmd=experiment(max_epoch=epochs, resume=True, **more))
    out = tmp_path / "exp"
    model, _ = S3RouterASRTask.build_model_from_file(out / "config.yaml", out / "2epoch.pth", "cpu")
    saved, loaded = torch.load(out / "2epoch.pth"), model.state_dict()
    assert sum("lora_" in key for key in saved) == 2 * 2
    assert all(torch.equal(loaded[key], tensor) for key, tensor in saved.items())
