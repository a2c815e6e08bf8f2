"""Beginning from a finetuned model: its weights and its head are taken over, and nothing else is taken for one."""

import pytest
import torch
import yaml
from toys import TOYS, speech, wav2vec2

from espnet_s3router.errors import InputError
from espnet_s3router.masks import global_masks, topk_mask
from espnet_s3router.plugin.checkpoint import FINGERPRINT
from espnet_s3router.plugin.training.start_model import UPSTREAM, begin_training

BATCH = speech(8000, 5000, seed=1)
FC1 = "model.encoder.layers.0.feed_forward.intermediate_dense.weight"


@pytest.fixture
def finetuned(asr_model, tmp_path):
    """save(**as for experiment) -> (path of a model file of a finetune run, its tensors)."""

    def save(name="dense", mask_conf=None, **options):
        model, _ = asr_model(mask_conf=mask_conf or {"method": "finetune"}, **options)
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
        (tmp_path / name).mkdir()
        path = tmp_path / name / "valid.loss.ave.pth"
        torch.save(model.state_dict(), path)
        return str(path), torch.load(path)

    return save


def conf(start, **more):
    return {"method": "mpi", "sparsity": 0.4, "ranking": "matrix", "start": start, **more}


def begun(asr_model, mask_conf, **options):
    model, _ = asr_model(mask_conf=mask_conf, **options)
    begin_training(model)
    return model


@pytest.mark.parametrize("family", TOYS)
def test_weights_and_head_are_taken_over(family, finetuned, asr_model):
    path, state = finetuned(family=family, frontend={"multilayer_feature": True})
    model = begun(asr_model, conf(path, biases=True), family=family, frontend={"multilayer_feature": True})
    now = model.state_dict()
    assert set(now) == set(state)  # a pruned model is a finetuned one with zeros
    sites = {UPSTREAM + name for name in model.frontend.attached.kept()}
    assert sites and all(torch.equal(now[key], state[key] * topk_mask(state[key], 0.4)) for key in sites)
    assert all(torch.equal(now[key], state[key]) for key in set(now) - sites)


@pytest.mark.parametrize("train_cnn", [False, True])
def test_routed_pruning_saves_the_finetuned_weights(train_cnn, finetuned, asr_model, monkeypatch, tmp_path):
    """A checkpoint is complete: decoding does not need ``start``, which may be gone by then."""
    path, state = finetuned(mask_conf={"method": "finetune", "train_cnn": train_cnn})
    mask_conf = {"method": "routing_prune", "sparsity": 0.4, "train_cnn": train_cnn, "start": path}
    model = begun(asr_model, mask_conf)
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
    """Training must not begin from the pretrained weights without a word; building a model to decode with is fine."""
    model, _ = asr_model(mask_conf=conf(str(tmp_path / "nothing.pth")))
    with pytest.raises(InputError, match="start is .*nothing.pth', and there is no such file"):
        begin_training(model)


def test_not_finished(finetuned, asr_model, tmp_path):
    """A folder of the recipes without its marker; the same file elsewhere is the user's own affair."""
    path, _ = finetuned()
    (tmp_path / "dense" / "train.yaml").touch()
    with pytest.raises(InputError, match="run in .*dense is not finished"):
        begun(asr_model, conf(path))
    (tmp_path / "dense" / ".trained").touch()
    begun(asr_model, conf(path))


def test_another_upstream(finetuned, asr_model, tmp_path):
    path, _ = finetuned(family="wav2vec2")
    other = {"frontend_conf": wav2vec2(tmp_path, seed=7)}
    with pytest.raises(InputError, match="trained on another upstream"):
        begun(asr_model, conf(path), frontend=other)


@pytest.mark.parametrize("content", ["text", "tensors", "list", "checkpoint"])
def test_no_model_file(content, asr_model, tmp_path):
    path = tmp_path / "file.pth"
    if content == "text":
        path.write_text("hello")
    else:
        tensor = torch.ones(2)
        torch.save({"tensors": {"a": tensor}, "list": [tensor], "checkpoint": {"model": {"a": tensor}}}[content], path)
    with pytest.raises(InputError, match="is no model file"):
        begun(asr_model, conf(str(path)))


def test_a_run_of_another_method(finetuned, asr_model, tmp_path):
    """By its tensors, or by the configuration beside it: a sparse model has the tensors of a finetuned one."""
    path, _ = finetuned("masked", mask_conf={"method": "routing", "sparsity": 0.2})
    with pytest.raises(InputError, match=r"lacks \d+ of \d+ finetuned tensors, for example model\."):
        begun(asr_model, conf(path))
    path, _ = finetuned("sparse", mask_conf={"method": "parp", "sparsity": 0.2})
    config = {"frontend_conf": {"mask_conf": {"method": "parp"}}}
    (tmp_path / "sparse" / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match="of a run of method parp, expected one of method finetune"):
        begun(asr_model, conf(path))


def test_a_run_on_other_tokens(finetuned, asr_model, tmp_path):
    """As many as here: only the configuration tells."""
    path, _ = finetuned()
    model, _ = asr_model(mask_conf={"method": "finetune"})
    config = {"frontend_conf": {"mask_conf": {"method": "finetune"}}, "token_list": model.token_list[::-1]}
    (tmp_path / "dense" / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match="other tokens than this run"):
        begun(asr_model, conf(path))


def test_another_extent_of_finetuning(finetuned, asr_model):
    frozen, _ = finetuned("frozen")
    trained, _ = finetuned("trained", mask_conf={"method": "finetune", "train_cnn": True})
    with pytest.raises(InputError, match="lacks.*same train_cnn"):
        begun(asr_model, conf(frozen, train_cnn=True))
    with pytest.raises(InputError, match="holds .* not finetuned here.*same train_cnn"):
        begun(asr_model, conf(trained))


def test_another_head(finetuned, asr_model, tmp_path):
    """The token list of another corpus."""
    path, state = finetuned()
    state["ctc.ctc_lo.weight"] = state["ctc.ctc_lo.weight"][:-1]
    torch.save(state, path)
    with pytest.raises(InputError, match=r"ctc\.ctc_lo\.weight has shape \(4, 16\), expected \(5, 16\)"):
        begun(asr_model, conf(path))
    del state["ctc.ctc_lo.weight"]
    torch.save(state, path)
    with pytest.raises(InputError, match="lacks ctc.ctc_lo.weight: its model has another head"):
        begun(asr_model, conf(path))


@pytest.mark.parametrize("method", ["finetune", "routing", "parp"])
def test_mask_of_another_run(method, finetuned, asr_model):
    """Scores where there are some, else magnitudes; the weights stay the pretrained ones."""
    more = {} if method == "finetune" else {"sparsity": 0.4, "targets": "all"}
    path, state = finetuned(mask_conf={"method": method, **more})
    model = begun(asr_model, {"method": "parp", "sparsity": 0.4, "ranking": "matrix", "initial_mask": path})
    key = f"{UPSTREAM}{FC1.removesuffix('.weight')}.parametrizations.weight.0.scores"
    ranked = state[key if method == "routing" else UPSTREAM + FC1]
    pretrained, _ = asr_model(mask_conf={"method": "finetune"})
    weight = pretrained.frontend.attached.trained[FC1]
    assert torch.equal(model.frontend.attached.sites[FC1], weight * topk_mask(ranked, 0.4))


def test_mask_of_a_route_is_its_mask(finetuned, asr_model):
    """A global ranking leaves what the route has removed of each tensor, whose scores have each their own scale."""
    path, state = finetuned(mask_conf={"method": "routing", "sparsity": 0.4, "targets": "all"})
    model = begun(asr_model, {"method": "parp", "sparsity": 0.4, "initial_mask": path})
    for name, mask in model.frontend.attached.kept().items():
        scores = state[f"{UPSTREAM}{name.removesuffix('.weight')}.parametrizations.weight.0.scores"]
        assert (mask != topk_mask(scores, 0.4)).sum() <= 1, name  # a count rounded over all tensors


def test_mask_of_scores_and_weights(finetuned, asr_model):
    """The run masked the feed-forward matrices alone; its other tensors are weights, which are no match for scores in size.
    Each tensor gives its own smallest then, and none is emptied."""
    dense, _ = finetuned()
    path, state = finetuned(
        name="routed", mask_conf={"method": "routing_prune", "targets": "feed_forward", "sparsity": 0.4, "start": dense}
    )
    model = begun(asr_model, {"method": "parp", "sparsity": 0.4, "initial_mask": path})
    for name, mask in model.frontend.attached.kept().items():
        scores = state.get(f"{UPSTREAM}{name.removesuffix('.weight')}.parametrizations.weight.0.scores")
        ranked = scores if scores is not None else state[UPSTREAM + name]
        assert (mask != topk_mask(ranked, 0.4)).sum() <= 1, name


def test_mask_of_a_sparser_run(finetuned, asr_model):
    """Its zeros are more than are to go: this run's magnitudes decide among them, not the order of the tensors."""
    path, state = finetuned()
    names = [key for key in state if key.endswith(("_proj.weight", "_dense.weight"))]
    for key, mask in global_masks({key: state[key] for key in names}, 0.6).items():
        state[key] *= mask
    torch.save(state, path)
    model = begun(asr_model, {"method": "parp", "sparsity": 0.25, "initial_mask": path})
    pretrained, _ = asr_model(mask_conf={"method": "finetune"})
    own = {key: pretrained.frontend.attached.trained[key.removeprefix(UPSTREAM)].detach() for key in names}
    among = {key: tensor.where(state[key] == 0, torch.inf) for key, tensor in own.items()}
    largest = max(tensor[state[key] == 0].abs().max() for key, tensor in own.items())
    wanted = global_masks({key: tensor.clamp(max=10 * largest) for key, tensor in among.items()}, 0.25)
    kept = model.frontend.attached.kept()
    assert len(names) == 12
    assert all(torch.equal(kept[key.removeprefix(UPSTREAM)], mask) for key, mask in wanted.items())


def test_mask_that_lacks_a_target(finetuned, asr_model):
    path, _ = finetuned(mask_conf={"method": "routing", "sparsity": 0.4})
    with pytest.raises(InputError, match="initial_mask: .* holds neither scores nor weights of .*attention"):
        begun(asr_model, {"method": "parp", "sparsity": 0.4, "initial_mask": path})


def test_mask_of_another_upstream(finetuned, asr_model, tmp_path):
    path, _ = finetuned(family="wav2vec2", mask_conf={"method": "routing", "sparsity": 0.4, "targets": "all"})
    with pytest.raises(InputError, match="initial_mask: .*another upstream"):
        begun(
            asr_model,
            {"method": "parp", "sparsity": 0.4, "initial_mask": path},
            frontend={"frontend_conf": wav2vec2(tmp_path, seed=7)},
        )


def test_init_param_is_refused(asr_model):
    """ESPnet would put it over the pruned weights after the method has begun."""
    model, _ = asr_model(mask_conf={"method": "mpi", "sparsity": 0.4})
    with pytest.raises(InputError, match="--init_param would replace weights that are pruned already"):
        begin_training(model, ["model.pth"])
