"""State-dict keys of masked tensors, against those that torch makes."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from espnet_s3router.masks import MaskedTensor, Site, TopK, inject
from espnet_s3router.masks.names import original_key, parameter_key, plain_name, scores_key, shared_name


@pytest.mark.parametrize(("path", "name"), [("", "weight"), ("0", "0.weight"), ("1.0", "1.0.weight")])
def test_keys_are_those_of_the_state_dict(path, name):
    model = nn.Linear(3, 2) if not path else nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 2)))
    owner = model.get_submodule(path)
    inject(Site(name=name, module=owner, tensor="weight"), MaskedTensor(torch.rand_like(owner.weight), TopK(0.5)))
    state = model.state_dict()
    assert {original_key(name), scores_key(name)} <= state.keys() and name not in state
    assert scores_key(name) == parameter_key(name, "scores")
    assert plain_name(original_key(name)) == plain_name(scores_key(name)) == name


def test_shared_weights_and_what_masks_add():
    """A weight has the name that it has without a mask. Weight normalisation adds nothing to what is shared."""
    model = nn.Sequential(nn.Linear(3, 2), parametrizations.weight_norm(nn.Linear(2, 2)))
    plain = set(model.state_dict())
    inject(Site(name="0.weight", module=model[0], tensor="weight"), MaskedTensor(torch.rand(2, 3), TopK(0.5)))
    names = {key: shared_name(key) for key in model.state_dict()}
    assert names.pop(scores_key("0.weight")) is None
    assert set(names.values()) == plain and len(names) == len(plain)


def test_plain_name_of_other_tensors():
    """Weight normalisation has two originals; a plain tensor keeps its name."""
    normed = parametrizations.weight_norm(nn.Linear(3, 2))
    assert {plain_name(key) for key in normed.state_dict()} == {"weight", "bias"}
    assert plain_name("model.fc1.weight") == "model.fc1.weight"
