"""Distillation: the loss is zero where student and teacher agree, and the teacher leaves no trace in the student."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from toys import speech

from espnet_s3router.errors import InputError
from espnet_s3router.methods import read_options
from espnet_s3router.plugin.distillation import DistillConfig, hidden_loss, install_distillation, posterior_loss
from espnet_s3router.plugin.training.start_model import start_method
from espnet_s3router.plugin.training.task import S3RouterASRTask

BATCH = speech(8000, 5000, seed=1)
TEXT = {"text": torch.tensor([[2, 3], [3, 2]]), "text_lengths": torch.tensor([2, 2])}
DISTILL = {"weight": 2.0, "temperature": 2.0, "layers": [1, 2]}


@pytest.fixture
def student(asr_model, dense):
    """build(sparsity, distill) -> a routed model at the start of training."""

    def build(sparsity, distill=DISTILL, teacher=None, start=dense):
        mask_conf = {"method": "routing_prune", "sparsity": sparsity, "start": start}
        conf = None if distill is None else {**distill, **({"teacher": teacher} if teacher else {})}
        model, _ = asr_model(mask_conf=mask_conf, frontend={"distill": conf})
        start_method(model)
        install_distillation(S3RouterASRTask, model)
        return model

    return build


def forward(model):
    """(loss, stats, weight) of the batch."""
    return model(speech=BATCH.waves, speech_lengths=BATCH.lengths, **TEXT)


def test_posterior_loss():
    """The divergence of softened posteriors, by its definition: summed over the frames that are not padding, and averaged
    over utterances, as CTC's is."""
    generator = torch.Generator().manual_seed(0)
    logits, expected = torch.randn(2, 2, 5, 4, generator=generator)
    frames = torch.tensor([5, 3])
    assert posterior_loss(expected, expected, frames, 2.0) == pytest.approx(0.0, abs=1e-6)
    total = 0.0
    for row, length in enumerate(frames):
        for frame in range(length):
            p, q = ((x[row, frame] / 3.0).softmax(0) for x in (expected, logits))
            total += float((p * (p / q).log()).sum())
    assert posterior_loss(logits, expected, frames, 3.0) == pytest.approx(9 * total / 2, rel=1e-5)
    changed = logits.clone()
    changed[1, 3:] = 100.0
    assert torch.equal(posterior_loss(changed, expected, frames, 3.0), posterior_loss(logits, expected, frames, 3.0))


def test_hidden_loss():
    states = torch.zeros(2, 3, 4)
    states[0, 2], states[1, 2] = 2.0, 7.0  # the latter is padding
    assert hidden_loss(states, torch.zeros(2, 3, 4), torch.tensor([3, 2])) == pytest.approx(4.0 / 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "missing 1 required.*'weight'"),
        ({"weight": 0}, "weight is 0, expected a number above 0"),
        ({"weight": "1"}, "weight is '1', expected a number"),
        ({"weight": 1.0, "temperature": -1.0}, "temperature is -1.0"),
        ({"weight": 1.0, "layers": [0.5]}, "layers hold 0.5, expected whole numbers"),
        ({"weight": 1.0, "heat": 1.0}, "'heat' is not an option; allowed: weight, temperature, layers, teacher"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InputError, match=message):
        read_options(DistillConfig, options, "distill")


def test_an_unpruned_student_has_nothing_to_learn(student):
    """With the same weights the teacher agrees. Removed weights make a difference."""
    loss, stats, _ = forward(student(0.0).train())
    assert stats["loss_distill"] == pytest.approx(0.0, abs=1e-7)
    pruned = student(0.7).train()
    loss, stats, _ = forward(pruned)
    assert stats["loss_distill"] > 1e-4
    assert float(stats["loss"]) == pytest.approx(float(loss.detach()), rel=1e-6)
    assert float(stats["loss"]) == pytest.approx(float(stats["loss_ctc"] + stats["loss_distill"]), rel=1e-5)


def test_structured_pruning_learns_from_its_dense_model(asr_model, dense):
    """By posteriors and layer by layer: the teacher has the weights of ``start``, and the loss falls."""
    mask_conf = {"method": "hj", "sparsity": 0.4, "updates": 9, "start": dense}
    model, _ = asr_model(mask_conf=mask_conf, frontend={"distill": {**DISTILL, "weight": 20.0}})
    start_method(model)
    install_distillation(S3RouterASRTask, model)
    teacher, attached = model.forward.func.__self__.teacher, model.frontend.attached
    state = teacher.state_dict()
    assert teacher.frontend.attached.method == "finetune"
    assert all(torch.equal(state[key], tensor) for key, tensor in torch.load(dense).items())
    attached.end_epoch()  # gates as in evaluation: the batch has the same loss until the weights change
    adam = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)
    losses = []
    for _ in range(12):
        loss, stats, _ = forward(model.train())
        losses.append(float(stats["loss_distill"]))
        loss.backward()
        adam.step()
        adam.zero_grad()
    assert losses[0] > 0.1 and losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("layers", [[], [1, 2]], ids=str)
def test_added_loss_by_its_definition(layers, student, dense_copy):
    """Computed with two separate models: weight * (T^2 * divergence + mean over the layers), each summed over the frames of
    an utterance."""
    weight, heat = 3.0, 2.5
    state = torch.load(dense_copy)
    state["ctc.ctc_lo.weight"] *= 30  # posteriors after two updates are nearly even
    torch.save(state, dense_copy)
    taught = student(0.7, {"weight": weight, "temperature": heat, "layers": layers}, start=dense_copy).train()
    teacher, _ = S3RouterASRTask.build_model_from_file(Path(dense_copy).with_name("config.yaml"), dense_copy, "cpu")
    plain = student(0.7, None, start=dense_copy)
    (ours, our_states, frames), (theirs, their_states, _) = (outputs(model) for model in (plain, teacher))
    inside = [(row, frame) for row, length in enumerate(frames) for frame in range(length)]
    assert len(inside) < ours.shape[0] * ours.shape[1]  # there is padding
    p, q = ([(x[at] / heat).softmax(0) for at in inside] for x in (theirs, ours))
    expected = heat**2 * sum(float((a * (a / b).log()).sum()) for a, b in zip(p, q)) / len(frames)
    for layer in layers:
        apart = [(our_states[layer][at] - their_states[layer][at]).square().mean() for at in inside]
        expected += float(sum(apart)) / len(frames) / len(layers)
    assert float(forward(taught)[1]["loss_distill"]) == pytest.approx(weight * expected, rel=1e-4)


@torch.no_grad()
def outputs(model):
    """(logits of the CTC head, hidden states, frames of each utterance) of the batch."""
    encoded, frames = model.eval().encode(BATCH.waves, BATCH.lengths)
    states, _ = model.frontend.upstream(BATCH.waves, BATCH.lengths)
    return model.ctc.ctc_lo(encoded), states, frames.tolist()


def test_gradient_of_both_losses(student):
    """The gradient is that of the task plus the weighted one of the teacher."""
    plain = student(0.7, None).train()
    taught, double = (student(0.7, {**DISTILL, "weight": weight}).train() for weight in (40.0, 80.0))
    for model in (plain, taught, double):
        forward(model)[0].sum().backward()
    gradients = [{n: p.grad for n, p in model.named_parameters() if p.requires_grad} for model in (plain, taught, double)]
    moved = 0
    for name, task in gradients[0].items():
        once, twice = gradients[1][name], gradients[2][name]
        torch.testing.assert_close(twice - task, 2 * (once - task), rtol=1e-3, atol=1e-4)
        moved += int(((once - task).abs() > 1e-3).any())
    assert moved > 5


def test_a_teacher_whose_layers_have_a_loss_of_their_own(student):
    """Its encoder returns their outputs beside that of the last layer, from which the student learns."""
    taught = student(0.7).train()
    alone = forward(taught)[1]["loss_distill"]
    teacher = taught.forward.func.__self__.teacher
    encode = teacher.encode

    def with_layers(*batch):
        encoded, frames = encode(*batch)
        return (encoded, [(1, encoded)]), frames

    teacher.encode = with_layers
    assert torch.equal(forward(taught)[1]["loss_distill"], alone)


def test_the_teacher_leaves_no_trace(student):
    """It is neither saved nor trained nor counted, and evaluation does not use it."""
    plain, taught = student(0.7, None), student(0.7)
    assert plain.state_dict().keys() == taught.state_dict().keys()
    assert [n for n, _ in plain.named_parameters()] == [n for n, _ in taught.named_parameters()]
    losses = [forward(model.eval())[0] for model in (plain, taught)]
    assert torch.equal(*losses)
    assert "loss_distill" not in forward(taught)[1]


def test_training_with_a_teacher_of_another_run(experiment, dense_copy, tmp_path):
    """For a method that starts elsewhere; decoding does not need the teacher."""
    out = tmp_path / "exp"
    options = {"mask_conf": {"method": "parp", "sparsity": 0.5}, "frontend": {"distill": {**DISTILL, "teacher": dense_copy}}}
    S3RouterASRTask.main(cmd=experiment(out=out, max_epoch=2, **options))
    shutil.rmtree(tmp_path / "dense")
    model, _ = S3RouterASRTask.build_model_from_file(out / "config.yaml", out / "2epoch.pth", "cpu")
    assert forward(model.eval())[0].isfinite()
    with pytest.raises(InputError, match="distill: teacher is .*there is no such file"):
        S3RouterASRTask.main(cmd=experiment(out=tmp_path / "other", max_epoch=2, **options))


def test_unusable_teachers(student, asr_model, dense, tmp_path):
    model, _ = asr_model(mask_conf={"method": "parp", "sparsity": 0.5}, frontend={"distill": DISTILL})
    with pytest.raises(InputError, match="teacher is None, expected a model file .* or a method with start"):
        install_distillation(S3RouterASRTask, model)
    with pytest.raises(InputError, match="layers hold 3, but the upstreams have hidden states 0 to 2"):
        student(0.5, {**DISTILL, "layers": [3]})
    (tmp_path / "alone").mkdir()
    shutil.copy(dense, tmp_path / "alone" / "model.pth")
    with pytest.raises(InputError, match="there is no config.yaml beside it"):
        student(0.5, teacher=str(tmp_path / "alone" / "model.pth"))
    other = student(0.5)
    other.token_list = ["<blank>", "<unk>", "B", "A", "<sos/eos>"]
    with pytest.raises(InputError, match="has other tokens than this run"):
        install_distillation(S3RouterASRTask, other)
    conditioned = student(0.5)
    conditioned.encoder = SimpleNamespace(interctc_use_conditioning=True)
    with pytest.raises(InputError, match="interctc_use_conditioning uses the CTC head within the encoder"):
        install_distillation(S3RouterASRTask, conditioned)
    listening = student(0.5)
    listening.postdecoder = torch.nn.Identity()
    with pytest.raises(InputError, match="the model has a postdecoder, but the teacher does not receive its transcripts"):
        install_distillation(S3RouterASRTask, listening)
