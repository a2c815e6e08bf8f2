"""Settings that ESPnet would refuse late, or with a traceback, are refused before anything is built."""

import math
from argparse import Namespace

import pytest
import torch

from espnet_s3router import devices
from espnet_s3router.errors import InputError
from espnet_s3router.plugin.training import checkpoint_files
from espnet_s3router.plugin.training.task import S3RouterASRTask

TRISTAGE = {
    "scheduler": "tristagelr",
    "scheduler_conf": {"max_steps": 8, "warmup_ratio": 0.1, "hold_ratio": 0.4, "decay_ratio": 0.5},
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scheduler_conf": {"max_steps": "8e2"}}, "scheduler_conf: max_steps is '8e2', expected a number.*write 800$"),
        ({"scheduler_conf": {"max_step": 8}}, "scheduler_conf of tristagelr: TypeError: .*max_step"),
        ({"scheduler_conf": {"max_steps": "many"}}, "scheduler_conf of tristagelr: TypeCheckError: .*max_steps"),
        ({"scheduler": "tristage"}, "scheduler is 'tristage', expected one of .*tristagelr"),
        ({"optim_conf": {"lr": "1e-3"}}, "optim_conf: lr is '1e-3', expected a number.*write 1.0e-3$"),
        ({"optim_conf": {"lr": 0.01, "eps": "1.5e8"}}, "optim_conf: eps is '1.5e8'.*write 150000000$"),
        ({"frontend": {"layerdrop": "5e-2"}}, "frontend_conf: layerdrop is '5e-2'.*write 5.0e-2$"),
        ({"accum_grad": 3, "num_iters_per_epoch": 2}, "accum_grad is 3, but an epoch has 2 batches.*Set accum_grad to 2"),
        ({"accum_grad": 3}, "accum_grad is 3, but an epoch has 2 batches"),
        ({"normalize": "global_mvn", "normalize_conf": {"stats_file": "feats_stats.npz"}},
         "stats_file is 'feats_stats.npz', and there is no such file.*normalize: utterance_mvn"),
        ({"normalize": "global_mvn"}, "its stats_file is None"),
        ({"preencoder": "linear", "preencoder_conf": {"input_size": 80, "output_size": 8}},
         "preencoder_conf: input_size is 80, but features of upstream hf_hubert_custom have width 16. Set input_size: 16"),
        ({"model_conf": {"ctc_weight": 1.0, "lsmweight": 0.1}}, "cannot build this model: TypeError: .*lsmweight"),
        ({"encoder": "rnn", "encoder_conf": {"hidden_size": "8"}}, "cannot build this model: .*hidden_size.*encoder_conf"),
        ({"init_param": ["none.pth:::ctc"]}, "init_param is 'none.pth:::ctc', and there is no file none.pth"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_settings(changes, message, experiment, tmp_path):
    changes = TRISTAGE | changes
    changes["scheduler_conf"] = TRISTAGE["scheduler_conf"] | changes["scheduler_conf"]
    if "max_step" in changes["scheduler_conf"]:
        changes["scheduler_conf"].pop("max_steps")
    with pytest.raises(InputError, match=message):
        S3RouterASRTask.main(cmd=experiment(out=tmp_path / "exp", **changes))
    assert not list((tmp_path / "exp").glob("*.pth"))


def test_gpus_are_counted_before_the_run(experiment, monkeypatch):
    monkeypatch.setattr(devices, "gpus", lambda: [])
    monkeypatch.setattr(devices, "OTHER_DRIVERS", ())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(InputError, match="ngpu is 1, but this machine has 0 NVIDIA GPUs"):
        S3RouterASRTask.main(cmd=experiment(ngpu=1))


def test_a_head_of_other_tokens(trained, experiment, tmp_path, corpus):
    """As many tokens in another order would be taken over without a word; another number would end in a traceback."""
    model = trained("routing") / "1epoch.pth"
    for tokens, count in (("<blank>\n<unk>\nB\nA\n<sos/eos>\n", 5), ("<blank>\n<unk>\nA\n<sos/eos>\n", 4)):
        (path := tmp_path / "tokens.txt").write_text(tokens, encoding="utf-8")
        with pytest.raises(InputError, match=f"other tokens.*: 5 there, {count} here.*{model}:::ctc, or use its token list"):
            S3RouterASRTask.main(cmd=experiment(init_param=[str(model)], token_list=str(path)))
    for parameters in (f"{model}:::ctc", f"{model}:frontend:frontend"):
        S3RouterASRTask.main(
            cmd=experiment(init_param=[parameters], token_list=str(path), dry_run=True, iterator_type="none")
        )
    S3RouterASRTask.main(cmd=experiment(init_param=[str(model)], dry_run=True, iterator_type="none"))


@pytest.mark.parametrize("content", [b"", b"PK damaged"])
@pytest.mark.parametrize("previous", [None, b"damaged too"])
def test_damaged_checkpoints(content, previous, experiment, trained_copy):
    out = trained_copy("routing")
    (out / "checkpoint.pth").write_bytes(content)
    (out / checkpoint_files.PREVIOUS).unlink()
    if previous:
        (out / checkpoint_files.PREVIOUS).write_bytes(previous)
    message = rf"checkpoint.pth is damaged \({len(content)} bytes\), and there is no intact .*remove .* to train anew"
    with pytest.raises(InputError, match=message):
        S3RouterASRTask.main(cmd=experiment(out=out, max_epoch=3, resume=True))


def test_a_checkpoint_with_a_changed_byte_is_damaged(tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({"a": torch.arange(1000.0)}, path)
    assert checkpoint_files.is_intact(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert not checkpoint_files.is_intact(path)


@pytest.mark.parametrize("clip", [math.inf, 1e30])
def test_an_infinite_norm_does_not_clip(clip):
    """As in ESPnet's trainer: gradients stay bit for bit, and the norm is still known to be finite or not."""
    parameter = torch.nn.Parameter(torch.zeros(4))
    for gradient in (torch.tensor([1e3, -2e-8, 0.0, 7.0]), torch.zeros(4)):
        parameter.grad = gradient.clone()
        assert torch.nn.utils.clip_grad_norm_([parameter], clip).isfinite()
        assert torch.equal(parameter.grad, gradient)
    for bad in (math.inf, math.nan):
        parameter.grad = torch.tensor([1.0, bad, 0.0, 0.0])
        assert not torch.nn.utils.clip_grad_norm_([parameter], clip).isfinite()


@pytest.mark.parametrize(
    ("mask_conf", "sites"),
    [({"method": "routing", "sparsity": 0.2}, 0), ({"method": "mpi", "sparsity": 0.2}, 1),
     ({"method": "parp", "sparsity": 0.2, "interval": 1, "form": "remask"}, 2)],
    ids=str,
)  # fmt: skip
def test_disk_space_counts_what_a_method_stores(mask_conf, sites, frontend):
    attached = frontend("hf_hubert", mask_conf).attached
    attached.begin()
    attached.begin_epoch(1)
    attached.end_epoch()
    stored = sum(tensor.numel() * tensor.element_size() for tensor in attached.training_state().values())
    size = sum(4 * parameter.numel() for parameter in getattr(attached, "sites", {}).values())
    assert stored <= attached.training_state_bytes() == sites * size


def test_averages_of_opposite_signs(frontend):
    """The sign of a score is arbitrary where magnitudes are ranked: averages have the mask of the mean magnitude."""
    from espnet_s3router.masks import topk_mask
    from espnet_s3router.plugin.checkpoint import UPSTREAM_KEYS
    from espnet_s3router.plugin.training.trainer import S3RouterTrainer, keys_of_unsigned_scores

    model = frontend("hf_hubert")
    whole = torch.nn.Module()
    whole.frontend = model
    trainer = type("Trainer", (S3RouterTrainer,), {"unsigned": keys_of_unsigned_scores(whole)})
    generator = torch.Generator().manual_seed(0)
    names = [UPSTREAM_KEYS + name for name in model.attached.trained]
    first = {key: parameter.detach().clone() for key, parameter in zip(names, model.attached.trained.values())}
    signs = {key: torch.randint(0, 2, tensor.shape, generator=generator) * 2 - 1 for key, tensor in first.items()}
    second = {key: 1.1 * tensor * signs[key] for key, tensor in first.items()}
    first["head"] = second["head"] = torch.tensor([-1.0])
    read = [trainer.unsigned_scores(state) for state in (first, second)]
    for key in names:
        average = (read[0][key] + read[1][key]) / 2
        assert torch.equal(topk_mask(average, 0.2), topk_mask(first[key], 0.2))
    assert read[0]["head"] == -1.0
    for masked in model.attached.masks.values():
        masked.estimator = "signed"
    trainer.unsigned = keys_of_unsigned_scores(whole)
    assert all(torch.equal(trainer.unsigned_scores(first)[key], first[key]) for key in names)


def test_namespace_without_options():
    """Stage 10 and other frontends have fewer arguments."""
    from espnet_s3router.plugin.training.settings import check_statistics

    check_statistics(Namespace(normalize=None))
