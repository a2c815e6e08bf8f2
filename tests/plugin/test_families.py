"""What must hold on every family of upstreams."""

import re

import pytest
import torch
from toys import DIM, LAYERS, TOYS, speech

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.deployment.bake import bake_upstream
from espnet_s3router.upstreams import family_of

FAMILIES = list(TOYS)
BATCH = speech(8000, 5000, seed=1)


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def features_of(frontend, batch=BATCH):
    return frontend(batch.waves, batch.lengths)[0]


features = torch.no_grad()(features_of)


def test_shapes(family, frontend):
    """One vector per 320 samples."""
    feats, lengths = frontend(family)(BATCH.waves, BATCH.lengths)
    assert feats.shape == (2, 25, DIM) and lengths.tolist() == [25, 16]
    assert feats.dtype == torch.float32


def test_masks_reach_attention_and_feed_forward(family, frontend):
    """Hazard 1: fairseq-style attention never calls its projections; a mask that changes nothing is inert."""
    model = frontend(family)
    before = features(model)
    masks = model.attached.masks
    row = model.family
    assert len(masks) == LAYERS * len(row.feed_forward + row.attention)
    for name, masked in masks.items():
        masked.set_mask(torch.zeros_like(masked.mask))
        assert not torch.equal(features(model), before), name
        masked.set_mask(None)
    assert torch.equal(features(model), before)


def test_gradients_reach_every_score_and_nothing_else(family, frontend):
    model = frontend(family).train()
    feats, _ = model(BATCH.waves, BATCH.lengths)
    (feats * torch.randn(feats.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {
        f"upstream.upstream.{name}" for name in model.attached.trained
    }
    assert all((p.grad != 0).any() for p in model.attached.trained.values())


@pytest.mark.parametrize("targets", ["all", "conv"])
def test_masked_and_baked_agree_bit_for_bit(family, frontend, targets):
    model = frontend(family, {"method": "routing", "sparsity": 0.3, "targets": targets})
    masked = features(model)
    bake_upstream(model.expert)
    assert torch.equal(features(model), masked)
    assert not model.attached.masks


def test_baked_weights_fit_the_plain_frontend(family, frontend, toy_upstreams):
    """A model for stock ESPnet: the same names, the same output."""
    from espnet2.asr.frontend.s3prl import S3prlFrontend

    model = frontend(family)
    masked = features(model)
    bake_upstream(model.expert)
    # frozen, as ours is: torch chooses another kernel, with another rounding, for biases that could be trained
    plain = S3prlFrontend(frontend_conf=toy_upstreams[family]).eval().requires_grad_(False)
    assert not torch.equal(features(plain), masked)
    plain.upstream.load_state_dict(model.upstream.state_dict(), strict=True)
    assert torch.equal(features(plain), masked)


def test_masks_of_ones_leave_the_pretrained_model(family, frontend, toy_upstreams):
    from espnet2.asr.frontend.s3prl import S3prlFrontend

    model = frontend(family)
    for masked in model.attached.masks.values():
        masked.set_mask(torch.ones_like(masked.mask))
    plain = S3prlFrontend(frontend_conf=toy_upstreams[family]).eval().requires_grad_(False)
    assert torch.equal(features(model), features(plain))


@pytest.mark.parametrize(
    "mask_conf",
    [{"method": "lora", "targets": "all"}, {"method": "houlsby", "bottleneck": 4}, {"method": "bitfit"},
     {"method": "bitdelta", "start": "x"}, {"method": "finetune"}, {"method": "finetune", "train_cnn": True}],
    ids=str,
)  # fmt: skip
def test_other_methods_train_on_every_family(family, frontend, mask_conf):
    """They start at the pretrained model, and every tensor they train gets a gradient (else DDP would stall).
    Adapters that begin at zero are moved first."""
    model, head_only = frontend(family, mask_conf), frontend(family, {"method": "head_only"})
    torch.testing.assert_close(features(model), features(head_only), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        for name, parameter in model.attached.trained.items():
            if name.endswith((".0.b", "houlsby.up.weight")):
                parameter.normal_(std=0.1)
    model.train()
    feats, _ = model(BATCH.waves, BATCH.lengths)
    (feats * torch.randn(feats.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    without = [name for name, p in model.attached.trained.items() if p.grad is None]
    if family == "hf_wav2vec2" and mask_conf["method"] == "finetune":
        # transformers' hidden states end before the last norm of a pre-norm encoder
        without = [name for name in without if not name.startswith("model.encoder.layer_norm.")]
    if family == "conformer":  # the position of a frame enters its attention; s3prl keeps the convolution of other encoders
        without = [name for name in without if not name.startswith("model.encoder.pos_conv.")]
    assert without == []


def test_train_keeps_the_upstream_quiet(family, frontend):
    """Hazard 3: ESPnet calls model.train() every epoch; dropout (.1 in every toy) would make frozen features random."""
    model = frontend(family)
    quiet = features(model)
    model.train()
    assert model.training and not model.upstream.training
    assert torch.equal(features(model), quiet) and torch.equal(features(model), quiet)


def test_dropout_of_the_upstream_can_be_kept(family, frontend):
    model = frontend(family, dropout="upstream")
    quiet = features(model)
    model.train()
    assert model.upstream.training
    torch.manual_seed(0)
    assert not torch.equal(features(model), features(model))
    model.eval()
    assert torch.equal(features(model), quiet)  # statistics of batch norms stay, too


def test_nothing_of_the_upstream_drops_layers_or_masks(family, frontend):
    """Hazard 2: layerdrop (.5 in every toy) breaks s3prl's count of layers, SpecAugment (.5 in HF's) hides frames.
    With all dropouts at zero, a training upstream must say what it says in evaluation."""
    model = frontend(family, dropout="upstream", multilayer_feature=True)
    for module in model.modules():
        if "dropout" in type(module).__name__.lower():
            module.p = 0.0
        for name in ("dropout", "activation_dropout", "dropout_module", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    quiet = features(model)
    model.train()
    for _ in range(8):
        torch.testing.assert_close(features(model), quiet)


def test_upstream_dropouts(family, frontend):
    """Without dropouts a training upstream says what it says in evaluation; each dropout alone changes that."""
    names = family_of(frontend(family).expert).dropouts
    none = dict.fromkeys(names, 0.0)
    model = frontend(family, dropout="upstream", upstream_dropouts=none)
    quiet = features(model)
    assert torch.equal(quiet, features(frontend(family)))
    torch.testing.assert_close(features(model.train()), quiet)
    for name in names:
        torch.manual_seed(0)
        model = frontend(family, dropout="upstream", upstream_dropouts={**none, name: 0.5}).train()
        assert not torch.allclose(features(model), quiet, rtol=1e-3, atol=1e-3), name


def test_upstream_dropouts_that_a_family_lacks(frontend):
    with pytest.raises(InputError, match="input is 0.1, but whisper upstreams have no such dropout, only transformer, att"):
        frontend("hf_whisper", dropout="upstream", upstream_dropouts={"input": 0.1})
    frontend("hf_whisper", dropout="upstream", upstream_dropouts={"input": None})


def test_our_layerdrop(family, frontend):
    """s3prl still counts every layer; skipping happens in training only, and skips all of a layer."""
    model = frontend(family, layerdrop=0.5, multilayer_feature=True)
    quiet = features(model)
    assert torch.equal(features(model), quiet)
    model.train()
    torch.manual_seed(0)
    seen = {tuple(features(model).flatten()[:8].tolist()) for _ in range(24)}
    assert len(seen) == 4  # two layers, each skipped or not
    assert tuple(quiet.flatten()[:8].tolist()) in seen


def test_layerdrop_is_the_probability_of_skipping(frontend):
    """Of 800 layers one in five is skipped, give or take five standard deviations."""
    model = frontend("wav2vec2", layerdrop=0.2)
    skipped = []
    for layer in model.expert.get_submodule(model.family.layers):
        layer.register_forward_hook(lambda module, inputs, output: skipped.append(torch.equal(inputs[0], output[0])))
    model.train()
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(400):
            model(BATCH.waves[:1, :1600], torch.tensor([1600]))
    assert len(skipped) == 800
    assert abs(sum(skipped) / 800 - 0.2) < 5 * (0.2 * 0.8 / 800) ** 0.5


def test_recompute_gives_the_same_gradients_and_selects_once(family, frontend):
    results = []
    for recompute in (False, True):
        model = frontend(family, recompute=recompute).train()
        feats, _ = model(BATCH.waves, BATCH.lengths)
        feats.square().sum().backward()
        results.append({name: p.grad for name, p in model.attached.trained.items()})
        assert {masked.selections for masked in model.attached.masks.values()} == {1}
    for name, gradient in results[0].items():
        torch.testing.assert_close(results[1][name], gradient, rtol=1e-6, atol=1e-7)


def test_recompute_really_recomputes(family, frontend):
    """Fewer activations are kept for the backward pass."""
    kept = []
    for recompute in (False, True):
        model, sizes = frontend(family, recompute=recompute).train(), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t):
            model(BATCH.waves, BATCH.lengths)[0].sum()
        kept.append(sum(sizes))
    assert kept[1] < 0.5 * kept[0]


def test_recompute_replays_dropout(family, frontend):
    """Else the backward pass belongs to another model than the forward pass."""
    results = []
    for recompute in (False, True):
        model = frontend(family, recompute=recompute, dropout="upstream").train()
        torch.manual_seed(3)
        model(BATCH.waves, BATCH.lengths)[0].square().sum().backward()
        results.append(torch.cat([p.grad.flatten() for p in model.attached.trained.values()]))
    torch.testing.assert_close(results[1], results[0], rtol=1e-5, atol=1e-6)


def test_latent_masking_acts_in_training_only(family, frontend):
    model = frontend(family, latent_masking={"time_prob": 0.6, "time_length": 3, "channel_prob": 0.4, "channel_length": 3})
    quiet = features(model)
    assert torch.equal(features(model), quiet)
    model.train()
    torch.manual_seed(0)
    first, second = features(model), features(model)
    assert not torch.equal(first, second) and not torch.equal(first, quiet)
    model.eval()
    assert torch.equal(features(model), quiet)
    assert torch.equal(features(frontend(family)), quiet)


def test_the_mask_embedding_is_trained_if_asked(family, frontend):
    """It gets a gradient, belongs to the slim checkpoint, and a finetuned model (``start``) has it too."""
    options = {"latent_masking": {"time_prob": 0.6, "time_length": 3, "spans": "reference", "train_embedding": True}}
    if family == "hf_whisper":
        with pytest.raises(InputError, match="whisper upstream has no mask embedding"):
            frontend(family, **options)
        return
    model = frontend(family, **options).train()
    name = model.family.mask_embedding
    features_of(model).square().sum().backward()
    assert (model.attached.trained[name].grad != 0).any()
    assert set(model.state_dict()) - set(frontend(family).state_dict()) == {f"upstream.upstream.{name}"}
    assert model.attached.bytes_added() == frontend(family).attached.bytes_added() + 4 * DIM
    with torch.no_grad():
        model.attached.trained[name].add_(1.0)
    other = frontend(family, **options)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.attached.trained[name], model.attached.trained[name])
    parp = frontend(family, {"method": "parp", "sparsity": 0.2, "interval": 1}, **options)
    assert name in parp.attached.startable and name in parp.attached.trained
    prune = frontend(family, {"method": "routing_prune", "sparsity": 0.2, "start": "dense.pth"}, **options)
    assert name in prune.attached.startable and name in prune.attached.trained and name not in prune.attached.saved


def test_autocast(family, frontend, right_bfloat16):
    """bfloat16 inside, float32 outside; scores and their gradients stay float32."""
    model = frontend(family, autocast="bfloat16").train()
    feats, _ = model(BATCH.waves, BATCH.lengths)
    assert feats.dtype == torch.float32
    exact = features(frontend(family))
    assert not torch.equal(feats, exact)
    torch.testing.assert_close(feats.detach(), exact, rtol=0.1, atol=0.15)
    feats.square().mean().backward()
    for parameter in model.attached.trained.values():
        assert parameter.dtype == parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


def test_autocast_where_a_convolution_is_wrong(family, frontend, wrong_bfloat16, caplog):
    """The option ``auto`` trains in float32 with one warning; ``bfloat16`` is an error that names the layer."""
    model = frontend(family, autocast="auto").train()
    layer = next(name for name, part in model.expert.named_modules() if isinstance(part, torch.nn.Conv1d))
    exact = features(frontend(family).train())
    assert torch.equal(features(model), exact) and torch.equal(features(model), exact)
    assert [record.levelname for record in caplog.records if layer in record.message] == ["WARNING"]
    with pytest.raises(InputError, match=f"autocast is 'bfloat16'.*{re.escape(layer)} .*Remove the option"):
        features(frontend(family, autocast="bfloat16").train())
    assert torch.equal(features(frontend(family, autocast="bfloat16")), features(frontend(family)))  # evaluation


def test_no_deep_copy(family, frontend):
    """Hazard 8: S3prlFrontend keeps a second copy of all weights."""
    assert not hasattr(frontend(family), "pretrained_params")


@pytest.mark.parametrize("family", TOYS)
def test_adapters_behind_the_layers_train_on_every_family(family, frontend):
    """They act in every layer, and every tensor gets a gradient. Layers return a tensor in some families, else a tuple."""
    model, head_only = frontend(family, {"method": "mms_adapter"}), frontend(family, {"method": "head_only"})
    adapters = [m for name, m in model.expert.named_modules() if name.endswith("mms_adapter")]
    assert len(adapters) == 2
    for adapter in adapters:
        before = features(model)
        with torch.no_grad():
            adapter.linear_2.weight.zero_()
        assert not torch.equal(features(model), before)
    torch.testing.assert_close(features(model), features(head_only))
    model.train()
    feats, _ = model(BATCH.waves, BATCH.lengths)
    (feats * torch.randn(feats.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert all(parameter.grad is not None for parameter in model.attached.trained.values())
