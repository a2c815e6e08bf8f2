"""A first mask from another run: its scores or its magnitudes, and nothing from an unsuitable file."""

import pytest
import torch
import yaml
from toys import wav2vec2

from espnet_s3router.errors import InputError
from espnet_s3router.masks import global_masks, topk_mask
from espnet_s3router.plugin.checkpoint import UPSTREAM_KEYS

FC1 = "model.encoder.layers.0.feed_forward.intermediate_dense.weight"


@pytest.mark.parametrize("method", ["finetune", "routing", "parp"])
def test_mask_of_another_run(method, finetuned, started, asr_model):
    """Scores where they exist, else magnitudes; the weights stay the pretrained ones."""
    more = {} if method == "finetune" else {"sparsity": 0.4, "targets": "all"}
    path, state = finetuned(mask_conf={"method": method, **more})
    model = started({"method": "parp", "sparsity": 0.4, "ranking": "matrix", "initial_mask": path})
    key = f"{UPSTREAM_KEYS}{FC1.removesuffix('.weight')}.parametrizations.weight.0.scores"
    ranked = state[key if method == "routing" else UPSTREAM_KEYS + FC1]
    pretrained, _ = asr_model(mask_conf={"method": "finetune"})
    weight = pretrained.frontend.attached.trained[FC1]
    assert torch.equal(model.frontend.attached.sites[FC1], weight * topk_mask(ranked, 0.4))


def test_mask_of_a_route_is_its_mask(finetuned, started):
    """Scores of each tensor have their own scale, and still a global ranking removes what the route removed."""
    path, state = finetuned(mask_conf={"method": "routing", "sparsity": 0.4, "targets": "all"})
    model = started({"method": "parp", "sparsity": 0.4, "initial_mask": path})
    for name, mask in model.frontend.attached.kept().items():
        scores = state[f"{UPSTREAM_KEYS}{name.removesuffix('.weight')}.parametrizations.weight.0.scores"]
        assert (mask != topk_mask(scores, 0.4)).sum() <= 1, name  # a count rounded over all tensors


@pytest.mark.parametrize("method", ["finetune", "routing"])
def test_routing_begins_from_the_mask_of_another_run(method, finetuned, started, asr_model):
    """Of finetuned weights or of a route in another language; the weights stay the pretrained ones."""
    more = {} if method == "finetune" else {"sparsity": 0.3}
    path, state = finetuned(mask_conf={"method": method, **more})
    attached = started({"method": "routing", "sparsity": 0.4, "initial_mask": path}).frontend.attached
    key = f"{UPSTREAM_KEYS}{FC1.removesuffix('.weight')}.parametrizations.weight.0.scores"
    ranked = state[key if method == "routing" else UPSTREAM_KEYS + FC1]
    assert torch.equal(attached.masks[FC1].mask, topk_mask(ranked, 0.4))
    pretrained, _ = asr_model(mask_conf={"method": "finetune"})
    weights = pretrained.frontend.attached.trained
    assert all(torch.equal(tensor, weights[name]) for name, tensor in attached.weights().items())


def test_pruning_by_masks_begins_from_the_mask_of_another_run(finetuned, started):
    """The weights are those of ``start``, the order of the first scores that of ``initial_mask``."""
    dense, weights = finetuned()
    path, state = finetuned(name="other", mask_conf={"method": "routing", "sparsity": 0.3, "targets": "all"})
    conf = {"method": "routing_prune", "sparsity": 0.4, "start": dense, "initial_mask": path}
    attached = started(conf).frontend.attached
    for name, masked in attached.masks.items():
        scores = state[f"{UPSTREAM_KEYS}{name.removesuffix('.weight')}.parametrizations.weight.0.scores"]
        assert torch.equal(masked.mask, topk_mask(scores, 0.4)), name
        assert torch.equal(attached.weights()[name], weights[UPSTREAM_KEYS + name])


@pytest.mark.parametrize(
    ("more", "select"),
    [
        ({"estimator": "signed", "init": "zeros"}, lambda scores: topk_mask(scores, 0.4, signed=True)),
        ({"ranking": "input_units", "score_per": "unit"}, lambda scores: topk_mask(scores, 0.5).expand(32, 16)),
    ],
    ids=["signs", "units"],
)
def test_mask_of_scores_with_signs_or_of_units(more, select, finetuned, started, tmp_path):
    """The configuration beside the file says how its scores were ranked."""
    mask_conf = {"method": "routing", "sparsity": 0.4, **more}
    path, state = finetuned(mask_conf=mask_conf)
    conf = {"token_list": ["<blank>", "<unk>", "A", "B", "<sos/eos>"], "frontend_conf": {"mask_conf": mask_conf}}
    (tmp_path / "dense/config.yaml").write_text(yaml.safe_dump(conf), encoding="utf-8")
    scores = state[f"{UPSTREAM_KEYS}{FC1.removesuffix('.weight')}.parametrizations.weight.0.scores"]
    sparsity = 0.4 if scores.shape == (32, 16) else 0.5
    attached = started({"method": "routing", "sparsity": sparsity, "initial_mask": path}).frontend.attached
    assert torch.equal(attached.masks[FC1].mask, select(scores))


def test_mask_of_scores_and_weights(finetuned, started):
    """The run masked the feed-forward matrices alone. Its other tensors are weights, which have another scale than scores.
    So each tensor loses its own smallest entries, and none loses all."""
    dense, _ = finetuned()
    path, state = finetuned(
        name="routed", mask_conf={"method": "routing_prune", "targets": "feed_forward", "sparsity": 0.4, "start": dense}
    )
    model = started({"method": "parp", "sparsity": 0.4, "initial_mask": path})
    for name, mask in model.frontend.attached.kept().items():
        scores = state.get(f"{UPSTREAM_KEYS}{name.removesuffix('.weight')}.parametrizations.weight.0.scores")
        ranked = scores if scores is not None else state[UPSTREAM_KEYS + name]
        assert (mask != topk_mask(ranked, 0.4)).sum() <= 1, name


def test_mask_of_a_sparser_run(finetuned, started, asr_model):
    """It has more zeros than this run: this run's magnitudes decide among them, not the order of the tensors."""
    path, state = finetuned()
    names = [key for key in state if key.endswith(("_proj.weight", "_dense.weight"))]
    for key, mask in global_masks({key: state[key] for key in names}, 0.6).items():
        state[key] *= mask
    torch.save(state, path)
    model = started({"method": "parp", "sparsity": 0.25, "initial_mask": path})
    pretrained, _ = asr_model(mask_conf={"method": "finetune"})
    own = {key: pretrained.frontend.attached.trained[key.removeprefix(UPSTREAM_KEYS)].detach() for key in names}
    among = {key: tensor.where(state[key] == 0, torch.inf) for key, tensor in own.items()}
    largest = max(tensor[state[key] == 0].abs().max() for key, tensor in own.items())
    expected = global_masks({key: tensor.clamp(max=10 * largest) for key, tensor in among.items()}, 0.25)
    kept = model.frontend.attached.kept()
    assert len(names) == 12
    assert all(torch.equal(kept[key.removeprefix(UPSTREAM_KEYS)], mask) for key, mask in expected.items())


@pytest.mark.parametrize("rule", [{}, {"candidates_from": "random", "seed": 4}], ids=str)
@pytest.mark.parametrize("ranking", ["matrix", "global"])
def test_mask_of_a_run_with_candidates(rule, ranking, finetuned, started, tmp_path):
    """Weights that the other run could not remove stay, also where it began from the same base with another seed."""
    mask_conf = {"method": "routing", "sparsity": 0.2, "candidates": 0.3, "ranking": ranking, **rule}
    path, _ = finetuned(mask_conf=mask_conf)
    conf = {"token_list": ["<blank>", "<unk>", "A", "B", "<sos/eos>"], "frontend_conf": {"mask_conf": mask_conf}}
    (tmp_path / "dense/config.yaml").write_text(yaml.safe_dump(conf), encoding="utf-8")
    other = started(mask_conf)
    other.load_state_dict(torch.load(path), strict=False)
    attached = started({"method": "routing", "sparsity": 0.2, "ranking": ranking, "initial_mask": path}).frontend.attached
    expected = other.frontend.attached.kept()
    assert all(torch.equal(mask, expected[name]) for name, mask in attached.kept().items())


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({}, {}),
        ({"targets": "all"}, {"targets": "all"}),
        ({"keep": 0.93}, {"keep": 0.93}),
        ({"ranking": "global", "targets": "all"}, {"ranking": "global", "targets": "all"}),
        ({"ranking": "2:4", "sparsity": 0.5}, {"ranking": "2:4", "sparsity": 0.5}),
        ({"estimator": "signed", "init": "zeros"}, {}),
        ({"candidates": 0.3}, {}),
        ({"layers": [0], "feed_forward_sparsity": 0.1}, {"layers": [0], "feed_forward_sparsity": 0.1}),
    ],
    ids=str,
)
def test_fixed_masks_of_another_run_are_its_masks(theirs, ours, finetuned, started, tmp_path):
    """Bit for bit, and nothing of the upstream trains."""
    sparsity = {} if "keep" in theirs else {"sparsity": 0.2}
    mask_conf = {"method": "routing", **sparsity, **theirs}
    path, state = finetuned(mask_conf=mask_conf)
    conf = {"token_list": ["<blank>", "<unk>", "A", "B", "<sos/eos>"], "frontend_conf": {"mask_conf": mask_conf}}
    (tmp_path / "dense/config.yaml").write_text(yaml.safe_dump(conf), encoding="utf-8")
    other = started(mask_conf)
    other.load_state_dict(state, strict=False)
    attached = started({"method": "magnitude", **sparsity, **ours, "initial_mask": path}).frontend.attached
    expected = other.frontend.attached.kept()
    assert attached.kept().keys() == expected.keys()
    assert all(torch.equal(mask, expected[name]) for name, mask in attached.kept().items())
    assert not attached.trained and not any(p.requires_grad for p in attached.upstream.parameters())
    weights = other.frontend.attached.weights()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in attached.weights().items())


def test_fixed_masks_are_those_of_the_scores(finetuned, started):
    """By the definition: the largest magnitudes of the other run's scores stay, whatever the weights are."""
    path, state = finetuned(mask_conf={"method": "routing", "sparsity": 0.3})
    attached = started({"method": "magnitude", "sparsity": 0.3, "initial_mask": path}).frontend.attached
    own = started({"method": "magnitude", "sparsity": 0.3}).frontend.attached.kept()
    scores = state[f"{UPSTREAM_KEYS}{FC1.removesuffix('.weight')}.parametrizations.weight.0.scores"]
    assert torch.equal(attached.kept()[FC1], topk_mask(scores, 0.3)) and not torch.equal(attached.kept()[FC1], own[FC1])


def test_mask_that_lacks_a_target(finetuned, started):
    path, _ = finetuned(mask_conf={"method": "routing", "sparsity": 0.4})
    with pytest.raises(InputError, match="initial_mask: .* holds neither scores nor weights of .*attention"):
        started({"method": "parp", "sparsity": 0.4, "initial_mask": path})


def test_mask_of_another_upstream(finetuned, started, tmp_path):
    path, _ = finetuned(family="wav2vec2", mask_conf={"method": "routing", "sparsity": 0.4, "targets": "all"})
    with pytest.raises(InputError, match="initial_mask: .*another upstream"):
        started(
            {"method": "parp", "sparsity": 0.4, "initial_mask": path},
            frontend={"frontend_conf": wav2vec2(tmp_path, seed=7)},
        )
