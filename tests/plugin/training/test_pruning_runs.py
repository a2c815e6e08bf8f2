"""Whole pruning runs: every file that ESPnet writes is exactly sparse, and the scored model is the saved one."""

import json
import shutil

import pytest
import torch

from espnet_s3router.errors import InputError
from espnet_s3router.masks import zero_count
from espnet_s3router.plugin.checkpoint import UPSTREAM_KEYS
from espnet_s3router.plugin.training.task import S3RouterASRTask

PARP_P = {"method": "parp_p", "sparsity": 0.5, "updates": 8, "interval": 3, "initial_sparsity": 0.2}
IMP = {"method": "imp", "sparsity": 0.5, "updates": 6, "rounds": 3}
ROUTED = {"method": "routing_prune", "sparsity": 0.5, "schedule": "linear", "updates": 6, "interval": 1}


def counts(state):
    """(zeros, entries) over the attention and feed-forward matrices of a model file."""
    sites = [
        t for key, t in state.items() if key.startswith(UPSTREAM_KEYS) and key.endswith(("_proj.weight", "_dense.weight"))
    ]
    assert len(sites) == 12
    return sum(int((t == 0).sum()) for t in sites), sum(t.numel() for t in sites)


@pytest.mark.parametrize("mask_conf", [PARP_P, {**PARP_P, "form": "remask"}, IMP], ids=["parp_p", "remask", "imp"])
def test_every_file_is_exactly_sparse(mask_conf, experiment, dense, tmp_path):
    """Each epoch, while the sparsity rises too, the n-best averages, and the state to resume from."""
    out = tmp_path / "exp"
    S3RouterASRTask.main(
        cmd=experiment(out=out, max_epoch=4, keep_nbest_models=[4, 2], mask_conf={**mask_conf, "start": dense})
    )
    files = [path.name for path in out.glob("*.pth")]
    expected = {"1epoch.pth", "4epoch.pth", "valid.loss.ave_2best.pth", "valid.loss.ave_4best.pth", "checkpoint.pth"}
    assert expected <= set(files)
    for name in files:
        whole = name.startswith("checkpoint")  # holds NumPy scalars beside the tensors
        state = torch.load(out / name, weights_only=not whole)
        zeros, entries = counts(state["model"] if whole else state)
        assert zeros == zero_count(entries, 0.5), name
    report = json.loads((out / "model.json").read_text())["sparsity"]
    zeros, entries = counts(torch.load(out / "4epoch.pth"))
    assert (report["zeros"], report["entries"]) == (zeros, entries)
    rows = [line.split("\t") for line in (out / "masks.tsv").read_text().splitlines()]
    assert [row[0] for row in rows if row[1] == "all"] == ["1", "2", "3", "4"]
    assert all(float(row[2]) == pytest.approx(0.5, abs=1e-3) for row in rows if row[1] == "all")


def test_routed_pruning_ends_every_epoch_at_the_target(experiment, dense_copy, tmp_path):
    """The configuration holds the sparsity, not the scores: every file of the run is masked at the target."""
    out = tmp_path / "exp"
    S3RouterASRTask.main(cmd=experiment(out=out, max_epoch=2, mask_conf={**ROUTED, "start": dense_copy}))
    shutil.rmtree(tmp_path / "dense")
    for name in ("1epoch.pth", "valid.loss.ave.pth"):
        model, _ = S3RouterASRTask.build_model_from_file(out / "config.yaml", out / name, "cpu")
        for mask in model.frontend.attached.kept().values():
            assert int((~mask).sum()) == zero_count(mask.numel(), 0.5)


@pytest.mark.parametrize(
    "mask_conf",
    [PARP_P, {**PARP_P, "form": "remask"}, IMP, ROUTED],
    ids=["parp_p", "remask", "imp", "routing_prune"],
)
def test_resumed_run_equals_an_uninterrupted_one(mask_conf, experiment, dense, tmp_path):
    """A run killed within a ramp or a round ends with the same files, bit for bit, and the same description. So does a run
    that is killed again after its last epoch."""
    conf = {"mask_conf": {**mask_conf, "start": dense}}
    if mask_conf is IMP:
        conf |= {"scheduler": "tristagelr_rounds", "scheduler_conf": {"max_steps": 6, "rounds": 3}}
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "whole", max_epoch=3, **conf))
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", max_epoch=1, **conf))
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", max_epoch=3, resume=True, **conf))
    whole, resumed = (torch.load(tmp_path / name / "3epoch.pth") for name in ("whole", "exp"))
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[key], resumed[key]) for key in whole)
    moved = [(tmp_path / name / "masks.tsv").read_text() for name in ("whole", "exp")]
    assert steady_columns(moved[0]) == steady_columns(moved[1])
    (tmp_path / "exp/model.json").unlink()
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", max_epoch=3, resume=True, **conf))
    described = [json.loads((tmp_path / name / "model.json").read_text()) for name in ("whole", "exp")]
    assert described[0] == described[1] and described[0]["sparsity"]["zeros"] > 0


def steady_columns(masks):
    """The columns of ``masks.tsv`` without the one that counts from the start of a process."""
    return [line.split("\t")[:4] for line in masks.splitlines()]


def test_what_is_scored_is_what_is_saved(experiment, dense, tmp_path, monkeypatch):
    """Validation sees the zeros of the epoch's file, although training continues without them."""
    from espnet_s3router.plugin.training.trainer import S3RouterTrainer

    seen = []
    plain = S3RouterTrainer.validate_one_epoch.__func__

    def validate(cls, model, **kwargs):
        seen.append({UPSTREAM_KEYS + name: p.detach().clone() for name, p in model.frontend.attached.trained.items()})
        return plain(cls, model=model, **kwargs)

    monkeypatch.setattr(S3RouterTrainer, "validate_one_epoch", classmethod(validate))
    out = tmp_path / "exp"
    S3RouterASRTask.main(cmd=experiment(out=out, max_epoch=2, mask_conf={**PARP_P, "start": dense}))
    for epoch, scored in enumerate(seen, 1):
        saved = torch.load(out / f"{epoch}epoch.pth")
        assert all(torch.equal(tensor, saved[key]) for key, tensor in scored.items())
    assert len(seen) == 2


def test_run_that_ends_before_its_ramp(experiment, dense, tmp_path, caplog):
    """A warning says that ``updates`` do not fit the epochs. The files have the target sparsity, and ``model.json`` too."""
    for name, conf, updates, warned in (("short", PARP_P, 40, 1), ("long", PARP_P, 4, 0), ("routed", ROUTED, 40, 1)):
        caplog.clear()
        mask_conf = {**conf, "updates": updates, "start": dense}
        S3RouterASRTask.main(cmd=experiment(out=tmp_path / name, max_epoch=1, mask_conf=mask_conf))
        assert ("the sparsity was to rise until update 20" in caplog.text) == bool(warned)
        report = json.loads((tmp_path / name / "model.json").read_text())["sparsity"]
        assert report["zeros"] == report["entries"] / 2, name


def test_decoding_without_the_start_file(experiment, dense_copy, tmp_path):
    """config.yaml still names it, but the checkpoint is complete."""
    out = tmp_path / "exp"
    S3RouterASRTask.main(cmd=experiment(out=out, max_epoch=1, mask_conf={**IMP, "start": dense_copy}))
    shutil.rmtree(tmp_path / "dense")
    model, _ = S3RouterASRTask.build_model_from_file(out / "config.yaml", out / "1epoch.pth", "cpu")
    saved = torch.load(out / "1epoch.pth")
    assert all(torch.equal(tensor, saved[key]) for key, tensor in model.state_dict().items())


def test_training_without_the_start_file_fails(experiment, tmp_path):
    """Before anything is written; a dry run and the statistics of stage 10 do not read it."""
    mask_conf = {**IMP, "start": str(tmp_path / "gone.pth")}
    with pytest.raises(InputError, match="gone.pth', and there is no such file"):
        S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", mask_conf=mask_conf))
    assert not (tmp_path / "exp" / "config.yaml").exists()
    S3RouterASRTask.main(cmd=experiment(out=tmp_path / "dry", mask_conf=mask_conf, dry_run=True, iterator_type="none"))
