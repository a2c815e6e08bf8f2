"""Starting from a finetuned model: its weights and its head are copied, and every other file is refused."""

import pytest
import torch
import yaml
from toys import TOYS, speech, wav2vec2

from espnet_s3router.errors import InputError
from espnet_s3router.masks import topk_mask
from espnet_s3router.plugin.checkpoint import FINGERPRINT, UPSTREAM_KEYS
from espnet_s3router.plugin.training.start_model import start_method

BATCH = speech(8000, 5000, seed=1)


def conf(start, **more):
    return {"method": "mpi", "sparsity": 0.4, "ranking": "matrix", "start": start, **more}


@pytest.mark.parametrize("family", TOYS)
def test_weights_and_head_are_taken_over(family, finetuned, started):
    path, state = finetuned(family=family, frontend={"multilayer_feature": True})
    model = started(conf(path, biases=True), family=family, frontend={"multilayer_feature": True})
    now = model.state_dict()
    assert set(now) == set(state)  # a pruned model is a finetuned one with zeros
    sites = {UPSTREAM_KEYS + name for name in model.frontend.attached.kept()}
    assert sites and all(torch.equal(now[key], state[key] * topk_mask(state[key], 0.4)) for key in sites)
    assert all(torch.equal(now[key], state[key]) for key in set(now) - sites)


@pytest.mark.parametrize("train_cnn", [False, True])
def test_routed_pruning_saves_the_finetuned_weights(train_cnn, finetuned, started, asr_model, monkeypatch, tmp_path):
    """A checkpoint is complete: decoding does not need ``start``, which may be removed."""
    path, state = finetuned(mask_conf={"method": "finetune", "train_cnn": train_cnn})
    mask_conf = {"method": "routing_prune", "sparsity": 0.4, "train_cnn": train_cnn, "start": path}
    model = started(mask_conf)
    saved = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with torch.no_grad():
        expected = model.frontend.eval()(BATCH.waves, BATCH.lengths)[0]
    (tmp_path / "dense" / "valid.loss.ave.pth").unlink()
    fresh, _ = asr_model(mask_conf=mask_conf)
    fresh.load_state_dict(saved, strict=False)
    with torch.no_grad():
        assert torch.equal(fresh.frontend.eval()(BATCH.waves, BATCH.lengths)[0], expected)
    scores = {key for key in saved if key.endswith(".scores")}
    plain = {key.replace(".parametrizations.", ".").removesuffix(".original") for key in set(saved) - scores}
    assert len(scores) == 12 and plain == {key.replace(".parametrizations.", ".") for key in state}
    assert torch.equal(saved["frontend." + FINGERPRINT], state["frontend." + FINGERPRINT])  # still of the pretrained base


def test_missing_file(asr_model, tmp_path):
    """Training must not silently start from the pretrained weights; building a model for decoding is fine."""
    model, _ = asr_model(mask_conf=conf(str(tmp_path / "nothing.pth")))
    with pytest.raises(InputError, match="start is .*nothing.pth', and there is no such file"):
        start_method(model)


def test_not_finished(finetuned, started, tmp_path):
    """An experiment folder without its marker is refused; the same file elsewhere is accepted."""
    path, _ = finetuned()
    (tmp_path / "dense" / "train.yaml").touch()
    with pytest.raises(InputError, match="run in .*dense is not finished"):
        started(conf(path))
    (tmp_path / "dense" / ".trained").touch()
    started(conf(path))


def test_another_upstream(finetuned, started, tmp_path):
    path, _ = finetuned(family="wav2vec2")
    other = {"frontend_conf": wav2vec2(tmp_path, seed=7)}
    with pytest.raises(InputError, match="trained on another upstream"):
        started(conf(path), frontend=other)


@pytest.mark.parametrize("content", ["text", "tensors", "list", "checkpoint"])
def test_no_model_file(content, started, tmp_path):
    path = tmp_path / "file.pth"
    if content == "text":
        path.write_text("hello")
    else:
        tensor = torch.ones(2)
        torch.save({"tensors": {"a": tensor}, "list": [tensor], "checkpoint": {"model": {"a": tensor}}}[content], path)
    with pytest.raises(InputError, match="is no model file"):
        started(conf(str(path)))


def test_a_run_of_another_method(finetuned, started, tmp_path):
    """By its tensors, or by the configuration beside it: a sparse model has the tensors of a finetuned one."""
    path, _ = finetuned("masked", mask_conf={"method": "routing", "sparsity": 0.2})
    with pytest.raises(InputError, match=r"lacks \d+ of \d+ finetuned tensors, for example model\."):
        started(conf(path))
    path, _ = finetuned("sparse", mask_conf={"method": "parp", "sparsity": 0.2})
    config = {"frontend_conf": {"mask_conf": {"method": "parp"}}}
    (tmp_path / "sparse" / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match="of a run of method parp, expected one of method finetune"):
        started(conf(path))


def test_a_run_on_other_tokens(finetuned, started, asr_model, tmp_path):
    """As many as here: only the configuration tells."""
    path, _ = finetuned()
    model, _ = asr_model(mask_conf={"method": "finetune"})
    config = {"frontend_conf": {"mask_conf": {"method": "finetune"}}, "token_list": model.token_list[::-1]}
    (tmp_path / "dense" / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match="other tokens than this run"):
        started(conf(path))


def test_another_extent_of_finetuning(finetuned, started):
    """A frozen frontend has its pretrained values, from which it can be trained. What was trained cannot be frozen."""
    frozen, _ = finetuned("frozen")
    trained, _ = finetuned("trained", mask_conf={"method": "finetune", "train_cnn": True})
    model = started(conf(frozen, train_cnn=True))
    attached, pretrained = model.frontend.attached, started({"method": "head_only"}).frontend.expert
    assert attached.start_may_lack < attached.trained.keys()
    for name in attached.start_may_lack:
        assert torch.equal(attached.trained[name], pretrained.get_parameter(name))
    with pytest.raises(InputError, match="lacks.*same train_cnn"):
        started({"method": "routing_prune", "sparsity": 0.4, "train_cnn": True, "start": frozen})
    with pytest.raises(InputError, match="holds .* not finetuned here.*same train_cnn"):
        started(conf(trained))


def test_another_head(finetuned, started, tmp_path):
    """The token list of another corpus."""
    path, state = finetuned()
    state["ctc.ctc_lo.weight"] = state["ctc.ctc_lo.weight"][:-1]
    torch.save(state, path)
    with pytest.raises(InputError, match=r"ctc\.ctc_lo\.weight has shape \(4, 16\), expected \(5, 16\)"):
        started(conf(path))
    del state["ctc.ctc_lo.weight"]
    torch.save(state, path)
    with pytest.raises(InputError, match="lacks ctc.ctc_lo.weight: its model has another head"):
        started(conf(path))


def test_init_param_is_refused(asr_model):
    """ESPnet would put it over the pruned weights after the method has begun."""
    model, _ = asr_model(mask_conf={"method": "mpi", "sparsity": 0.4})
    with pytest.raises(InputError, match="--init_param would replace weights that are pruned already"):
        start_method(model, ["model.pth"])
