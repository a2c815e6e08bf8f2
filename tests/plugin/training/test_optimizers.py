"""The optimiser of a run: groups of parameters, learning rates, and the method's step."""

import pytest
import torch
from toys import speech

from espnet_s3router.errors import InputError
from espnet_s3router.masks import topk_mask
from espnet_s3router.plugin.training.task import S3RouterASRTask

BATCH = speech(8000, 5000, seed=1)
SCORES = "frontend.upstream.upstream.model.encoder.layers.0.feed_forward.intermediate_dense.parametrizations.weight.0.scores"


def group_of(optimizer, parameter):
    return next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))


@pytest.mark.parametrize(
    ("optim_conf", "expected"),
    [
        ({"lr": 0.01}, (0.01, 0.01, 0.01)),
        ({"lr": 0.01, "head_lr": 0.1}, (0.01, 0.01, 0.1)),
        ({"lr": 0.01, "weight_lr": 0.001, "head_lr": 0.1}, (0.01, 0.001, 0.1)),
    ],
)
def test_learning_rates_by_group(optim_conf, expected, asr_model):
    """Scores, weights inside the upstream, and the head; every trained parameter once and no frozen one."""
    mask_conf = {"method": "routing", "sparsity": 0.2, "train_norms": True}
    model, args = asr_model(mask_conf=mask_conf, optim_conf=optim_conf)
    (optimizer,) = S3RouterASRTask.build_optimizers(args, model)
    parameters = dict(model.named_parameters())
    norm = "frontend.upstream.upstream.model.encoder.layers.0.layer_norm.weight"
    found = tuple(group_of(optimizer, parameters[name])["lr"] for name in (SCORES, norm, "ctc.ctc_lo.weight"))
    assert found == expected
    listed = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert args.optim_conf == optim_conf  # the configuration that is written down stays whole


def test_weight_decay_where_espnet_leaves_it_out(asr_model):
    """exclude_weight_decay spares biases, norms and scores, and no matrix."""
    mask_conf = {"method": "routing", "sparsity": 0.2, "train_norms": True}
    model, args = asr_model(mask_conf=mask_conf, optim_conf={"lr": 0.01, "weight_decay": 0.1}, exclude_weight_decay=True)
    (optimizer,) = S3RouterASRTask.build_optimizers(args, model)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    spared = [name for name, p in model.named_parameters() if decays.get(id(p)) == 0.0]
    assert all(name.endswith(("bias", ".scores")) or "layer_norm" in name for name in spared)
    assert {decays[id(p)] for name, p in model.named_parameters() if name.endswith(".scores")} == {0.0}
    assert decays[id(model.ctc.ctc_lo.weight)] == 0.1


@pytest.mark.parametrize(
    ("optim_conf", "message"),
    [
        ({"lr": "1e-3"}, "optim_conf: lr is '1e-3', expected a number"),
        ({"lr": 0.1, "weight_lrs": 0.1}, "optim_conf of adam: .*'weight_lrs'"),
        ({"lr": -0.1}, "optim_conf of adam: Invalid learning rate: -0.1"),
    ],
    ids=str,
)
def test_bad_options_of_the_optimiser(optim_conf, message, asr_model):
    model, args = asr_model(optim_conf=optim_conf)
    with pytest.raises(InputError, match=message):
        S3RouterASRTask.build_optimizers(args, model)


def test_unknown_optimizer(asr_model):
    model, args = asr_model()
    args.optim = "madam"
    with pytest.raises(InputError, match="'madam', expected one of adadelta"):
        S3RouterASRTask.build_optimizers(args, model)


def test_freezing_something_else_is_fine(asr_model):
    model, args = asr_model()
    for parameter in model.ctc.parameters():
        parameter.requires_grad_(False)
    (optimizer,) = S3RouterASRTask.build_optimizers(args, model)
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("found", [0.0, 1.0])
def test_an_update_that_mixed_precision_skips_does_not_count(found, asr_model):
    """GradScaler still calls a fused optimiser, which then changes nothing: rounds and ramps must not advance."""
    model, args = asr_model()
    (optimizer,) = S3RouterASRTask.build_optimizers(args, model)
    optimizer.found_inf = torch.tensor(found)  # as GradScaler sets it for the time of the step
    optimizer.step()
    assert model.frontend.attached.update == 1 - found


@pytest.mark.parametrize("options", [{"foreach": True}, {"fused": True}, {}], ids=str)
def test_masks_follow_the_optimiser(options, asr_model):
    """A fused optimiser does not raise the version counters by which masks are cached: they would silently never
    change."""
    model, args = asr_model(optim_conf={"lr": 0.05, **options})
    (optimizer,) = S3RouterASRTask.build_optimizers(args, model)
    model.frontend.train()
    for step in range(1, 4):
        optimizer.zero_grad()
        (model.frontend(BATCH.waves, BATCH.lengths)[0][..., :3] ** 2).sum().backward()
        optimizer.step()
        for masked in model.frontend.attached.masks.values():
            assert masked.selections == step
            assert torch.equal(masked.mask, topk_mask(masked.scores, 0.2))
            assert masked.selections == step + 1


def test_step_hook_counts_real_updates(asr_model):
    """From 1; a resumed optimiser continues to count."""
    model, args = asr_model()
    seen = []
    attached = model.frontend.attached
    attached.step = lambda update, optimizer: seen.append((update, optimizer))

    def update(optimizer):
        optimizer.zero_grad()
        model.frontend.train()(BATCH.waves, BATCH.lengths)[0].square().sum().backward()
        optimizer.step()

    (first,) = S3RouterASRTask.build_optimizers(args, model)
    update(first)
    update(first)
    state = first.state_dict()
    attached.update = 0  # as in another process
    (second,) = S3RouterASRTask.build_optimizers(args, model)
    second.load_state_dict(state)
    update(second)
    assert seen == [(1, first), (2, first), (3, second)]


def test_parameters_outside_the_model_learn_from_all_processes(asr_model, monkeypatch):
    """DistributedDataParallel averages gradients of the model's parameters alone; the multipliers of hj are none."""
    model, args = asr_model(mask_conf={"method": "hj", "sparsity": 0.4, "updates": 4}, optim_conf={"lr": 0.0})
    (optimizer,) = S3RouterASRTask.build_optimizers(args, model)
    multipliers = model.frontend.attached.lagrangian.multipliers
    reduced = []

    def as_if_the_other_had_three_times_as_much(gradient):
        reduced.append(gradient)
        gradient.mul_(4)

    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.all_reduce", as_if_the_other_had_three_times_as_much)
    multipliers.grad = torch.ones_like(multipliers)
    optimizer.step()
    assert torch.equal(multipliers.grad, torch.full_like(multipliers, 2.0)) and len(reduced) == 1
