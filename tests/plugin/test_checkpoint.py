"""Slim checkpoints: only learned tensors are saved, and only a checkpoint of this base is loaded."""

import pytest
import torch
from toys import TOYS, speech

from espnet_s3router.errors import InputError
from espnet_s3router.masks import topk_mask
from espnet_s3router.plugin.checkpoint import FINGERPRINT, fingerprint

BATCH = speech(8000, 5000, seed=1)
METHODS = {
    "routing": {"method": "routing", "sparsity": 0.2, "targets": "all"},
    "routing and norms": {"method": "routing", "sparsity": 0.2, "train_norms": True},
    "frozen layer": {"method": "routing", "sparsity": 0.2, "freeze_below": 1},
    "global": {"method": "routing", "sparsity": 0.2, "ranking": "global"},
    "random": {"method": "random", "sparsity": 0.2},
    "candidates": {"method": "routing", "sparsity": 0.2, "candidates": 0.5},
    "upper layer": {"method": "routing", "sparsity": 0.2, "layers": "1-1"},
    "head_only": {"method": "head_only"},
    "finetune": {"method": "finetune"},
    "routing_prune": {"method": "routing_prune", "sparsity": 0.2, "start": "x"},
    "parp": {"method": "parp", "sparsity": 0.2},
    "lora": {"method": "lora"},
    "houlsby": {"method": "houlsby"},
    "bitfit": {"method": "bitfit"},
    "mms_adapter": {"method": "mms_adapter"},
    "bitdelta": {"method": "bitdelta", "start": "x"},
}


@torch.no_grad()
def features(frontend):
    return frontend(BATCH.waves, BATCH.lengths)[0]


def disturb(frontend, seed=0):
    """As if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in frontend.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)


@pytest.mark.parametrize("family", TOYS)
def test_round_trip_on_every_family(family, frontend):
    """What is saved brings a fresh frontend to the same output, and no frozen key is in it (hazard 8)."""
    trained = frontend(family)
    disturb(trained)
    state = trained.state_dict()
    assert set(state) == {f"upstream.upstream.{name}" for name in trained.attached.trained} | {FINGERPRINT}
    fresh = frontend(family)
    assert not torch.equal(features(fresh), features(trained))
    fresh.load_state_dict(state, strict=True)
    assert torch.equal(features(fresh), features(trained))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("multilayer", [False, True])
def test_round_trip_of_every_method(name, multilayer, frontend):
    trained = frontend("hubert", METHODS[name], multilayer_feature=multilayer)
    disturb(trained)
    state = {key: tensor.clone() for key, tensor in trained.state_dict().items()}
    kept = {f"upstream.upstream.{n}" for n in (*trained.attached.trained, *trained.attached.saved)} | {FINGERPRINT}
    assert set(state) == kept | ({"featurizer.weights"} if multilayer else set())
    fresh = frontend("hubert", METHODS[name], multilayer_feature=multilayer)
    fresh.load_state_dict(state, strict=True)
    assert torch.equal(features(fresh), features(trained))


def test_size_is_that_of_the_scores(frontend, tmp_path):
    """The file of an epoch holds scores, not the model."""
    model = frontend("hf_hubert", {"method": "routing", "sparsity": 0.1})
    torch.save(model.state_dict(), tmp_path / "slim.pth")
    torch.save(model.upstream.state_dict(), tmp_path / "dense.pth")
    saved = torch.load(tmp_path / "slim.pth")
    assert sum(tensor.numel() for tensor in saved.values()) == 2 * 2 * 16 * 32 + 32
    assert (tmp_path / "slim.pth").stat().st_size < 0.3 * (tmp_path / "dense.pth").stat().st_size


def test_checkpoint_holds_floats_only(frontend):
    """Hazard 7: averaging sums integers; and loading with weights_only=True takes tensors alone."""
    state = frontend("hf_hubert").state_dict()
    assert all(tensor.dtype == torch.float32 for tensor in state.values())


def in_model(frontend):
    """As ESPnet holds it, with a head beside it."""
    model = torch.nn.Module()
    model.frontend = frontend
    model.head = torch.nn.Linear(2, 2)
    return model


def test_missing_scores_are_named(frontend):
    """Hazard 6: ESPnet loads with strict=False and would decode with random scores without a word."""
    model = in_model(frontend("hubert"))
    state = model.state_dict()
    gone = "frontend.upstream.upstream.model.encoder.layers.1.fc1.parametrizations.weight.0.scores"
    del state[gone]
    with pytest.raises(InputError, match=f"lacks 1 of the 13 tensors.*{gone}"):
        model.load_state_dict(state, strict=False)


def test_checkpoint_of_a_plain_frontend_is_refused(frontend, toy_upstreams):
    from espnet2.asr.frontend.s3prl import S3prlFrontend

    plain = in_model(S3prlFrontend(frontend_conf=toy_upstreams["hubert"]))
    with pytest.raises(InputError, match="another kind of frontend"):
        in_model(frontend("hubert")).load_state_dict(plain.state_dict(), strict=False)


def test_checkpoint_of_other_targets_is_refused(frontend):
    state = in_model(frontend("hubert", {"method": "routing", "sparsity": 0.2})).state_dict()
    with pytest.raises(InputError, match="lacks 8 of the 13 tensors"):
        in_model(frontend("hubert")).load_state_dict(state, strict=False)


@pytest.mark.parametrize("method", ["head_only", "bitfit", "lora", "routing"])
def test_weights_that_the_method_freezes_are_refused(method, frontend):
    """As with --init_param from a finetuned model: they would be used, but be missing from every saved file."""
    state = in_model(frontend("hubert", {"method": "finetune"})).state_dict()
    model = in_model(frontend("hubert", {"method": method, **({"sparsity": 0.2} if method == "routing" else {})}))
    whole = model.state_dict() | state  # what ESPnet's loading of --init_param makes of it
    with pytest.raises(InputError, match="tensors that this frontend's method freezes, for example frontend.upstream"):
        model.load_state_dict(whole)


def test_other_base_is_refused(frontend, tmp_path):
    """The same architecture and the same names: only the fingerprint knows."""
    from toys import wav2vec2

    state = in_model(frontend("wav2vec2")).state_dict()
    other = frontend("wav2vec2", frontend_conf=wav2vec2(tmp_path, seed=7))
    with pytest.raises(InputError, match="other base weights than those of upstream 'wav2vec2_custom'"):
        in_model(other).load_state_dict(state, strict=False)


def test_wrong_shape_is_refused(frontend):
    model = in_model(frontend("hubert"))
    state = model.state_dict()
    name = next(key for key in state if key.endswith("scores"))
    state[name] = state[name][:-1]
    with pytest.raises(InputError, match=r"has shape \(\d+, 16\), expected"):
        model.load_state_dict(state, strict=False)


def test_refused_state_changes_nothing(frontend):
    model = frontend("hubert")
    before = features(model)
    state = {key: torch.zeros_like(tensor) for key, tensor in model.state_dict().items()}
    with pytest.raises(InputError, match="other base"):
        model.load_state_dict(state, strict=False)
    assert torch.equal(features(model), before)


def test_fingerprint_is_of_the_base_alone(frontend):
    """Not of the method, nor of training; but of every single weight."""
    models = [frontend("wav2vec2", conf) for conf in METHODS.values()]
    disturb(models[0])
    prints = [getattr(model, FINGERPRINT) for model in models]
    assert all(torch.equal(prints[0], other) for other in prints)
    assert prints[0].shape == (32,) and ((prints[0] >= 0) & (prints[0] < 256)).all()
    net = torch.nn.Linear(4, 4)
    before = fingerprint(net)
    assert torch.equal(before, fingerprint(net))
    with torch.no_grad():
        net.weight[2, 3] += 1e-6
    assert not torch.equal(before, fingerprint(net))


def test_scores_that_changed_by_loading_are_selected_anew(frontend):
    model, trained = frontend("hf_hubert"), frontend("hf_hubert")
    features(model)  # the masks are selected and kept
    disturb(trained)
    model.load_state_dict(trained.state_dict())
    for masked in model.attached.masks.values():
        assert torch.equal(masked.mask, topk_mask(masked.scores, 0.2))


@pytest.mark.parametrize("best", [2, 3])
def test_nbest_averaging(best, frontend, tmp_path):
    """Hazard 7: the average of slim checkpoints has exact masks, the right fingerprint, and loads. Two criteria,
    because ESPnet reuses what it has loaded for the first."""
    from espnet2.main_funcs.average_nbest_models import average_nbest_models
    from espnet2.train.reporter import Reporter

    reporter = Reporter()
    for epoch in range(1, best + 1):
        reporter.set_epoch(epoch)
        with reporter.observe("valid") as sub:
            sub.register({"loss": torch.tensor(float(epoch)), "cer": torch.tensor(float(epoch))})
            sub.next()
        model = in_model(frontend("hf_hubert"))
        disturb(model.frontend, seed=epoch)
        torch.save(model.state_dict(), tmp_path / f"{epoch}epoch.pth")
    single = torch.load(tmp_path / "1epoch.pth")
    average_nbest_models(tmp_path, reporter, [("valid", "loss", "min"), ("valid", "cer", "min")], best)
    averaged = torch.load(tmp_path / f"valid.loss.ave_{best}best.pth")
    assert set(averaged) == set(single)
    assert torch.equal(averaged["frontend." + FINGERPRINT], single["frontend." + FINGERPRINT])
    model = in_model(frontend("hf_hubert"))
    model.load_state_dict(averaged, strict=False)
    for name, masked in model.frontend.attached.masks.items():
        assert int((~masked.mask).sum()) == int(0.2 * masked.mask.numel() + 0.5), name
        assert not torch.equal(masked.scores, frontend("hf_hubert").attached.masks[name].scores)
    second = in_model(frontend("hf_hubert"))
    second.load_state_dict(torch.load(tmp_path / f"valid.cer.ave_{best}best.pth"), strict=False)
    assert all(int((~m.mask).sum()) == int(0.2 * m.mask.numel() + 0.5) for m in second.frontend.attached.masks.values())
