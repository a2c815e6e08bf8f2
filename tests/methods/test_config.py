"""Bad options are refused before anything is changed, in words that help."""

import pytest
import torch
from toys import toy_expert

from espnet_s3router.errors import InputError
from espnet_s3router.methods import attach, resolve

ROUTING = {"method": "routing", "sparsity": 0.1}

REFUSED = {
    "no method": ({}, "method is None, expected one of finetune, head_only, routing"),
    "unknown method": ({"method": "ruoting"}, "Did you mean routing"),
    "unknown key": ({**ROUTING, "sparsty": 0.1}, "'sparsty' is not an option of method routing.*Did you mean sparsity"),
    "key of another method": ({"method": "finetune", "sparsity": 0.1}, "allowed: train_cnn"),
    "no options": ({"method": "head_only", "seed": 1}, "allowed: none"),
    "missing": ({"method": "routing"}, "missing 1 required.*'sparsity'"),
    "unknown target": ({**ROUTING, "targets": "feedforward"}, "'feedforward', expected one of feed_forward, attention"),
    "unknown target in a list": ({**ROUTING, "targets": ["attention", "ffn"]}, "'ffn', expected one of"),
    "no target": ({**ROUTING, "targets": []}, r"targets is \(\), expected"),
    "not a target": ({**ROUTING, "targets": 3}, "targets is 3, expected"),
    "unknown target of lora": ({"method": "lora", "targets": ["q"]}, "'q', expected one of"),
    "unknown init": ({**ROUTING, "init": "zero"}, "'zero', expected one of ori, ori_sampled, magnitude"),
    "unknown rounding": ({**ROUTING, "rounding": "up"}, "nearest, reference"),
    "unknown ranking": ({**ROUTING, "ranking": "layer"}, "matrix, global, output_units, input_units, or N:M"),
    "ranking 5:4": ({**ROUTING, "ranking": "5:4"}, "0 < N <= M"),
    "sparsity 1": ({**ROUTING, "sparsity": 1.0}, r"sparsity is 1.0, expected a fraction removed in \[0, 1\)"),
    "sparsity below 0": ({**ROUTING, "sparsity": -0.1}, r"\[0, 1\)"),
    "sparsity nan": ({**ROUTING, "sparsity": float("nan")}, r"\[0, 1\)"),
    "sparsity in words": ({**ROUTING, "sparsity": "ten"}, "sparsity is 'ten', expected a number"),
    "sparsity true": ({**ROUTING, "sparsity": True}, "expected a number"),
    "group sparsity": ({**ROUTING, "attention_sparsity": 1.2}, r"attention_sparsity is 1.2.*\[0, 1\)"),
    "layer sparsity": ({**ROUTING, "layer_sparsity": {0: 8}}, r"layer_sparsity\[0\] is 8"),
    "layer by name": ({**ROUTING, "layer_sparsity": {"first": 0.1}}, "layer numbers from 0"),
    "scale": ({**ROUTING, "scale": 0}, "scale is 0, expected a number above 0"),
    "freeze_below": ({**ROUTING, "freeze_below": -1}, "layer number from 0"),
    "freeze_below 1.5": ({**ROUTING, "freeze_below": 1.5}, "expected a whole number"),
    "switch in quotes": ({**ROUTING, "train_weights": "false"}, "expected true or false"),
    "rank": ({"method": "lora", "rank": 0}, "rank is 0, expected a whole number from 1"),
    "rank 1.5": ({"method": "lora", "rank": 1.5}, "expected a whole number"),
    "alpha": ({"method": "lora", "alpha": -1}, "number above 0"),
    "bottleneck": ({"method": "houlsby", "bottleneck": 0}, "whole number from 1"),
    "global and layers": ({**ROUTING, "ranking": "global", "layer_sparsity": {0: 0.1}}, "contradiction"),
    "2:4 and groups": ({**ROUTING, "sparsity": 0.5, "ranking": "2:4", "feed_forward_sparsity": 0.5}, "contradiction"),
    "2:4 at another sparsity": ({**ROUTING, "ranking": "2:4"}, "sparsity is 0.1, expected 0.5 with ranking 2:4"),
    "global and freeze_below": ({**ROUTING, "ranking": "global", "freeze_below": 1}, "contradiction"),
}

REFUSED_ON_A_MODEL = {
    "pattern without a hit": ({**ROUTING, "targets": "*.fc3.weight"}, r"matches no maskable tensor.*layers\.\d\.fc"),
    "one of two without a hit": ({**ROUTING, "targets": ["*.fc1.weight", "x.y"]}, "'x.y' matches no maskable tensor"),
    "lora without a hit": ({"method": "lora", "targets": "*.bias"}, "matches no maskable tensor"),
    "nothing left to train": ({**ROUTING, "freeze_below": 3}, "freeze_below is 3, and no masked layer is left"),
    "layer that is not there": (
        {**ROUTING, "layer_sparsity": {3: 0.1}},
        r"layer 3, but the masked layers are \[0, 1, 2\]",
    ),
    "group that is not masked": ({**ROUTING, "attention_sparsity": 0.1}, "mask no attention matrix"),
    "3:5 of 16 inputs": ({**ROUTING, "sparsity": 0.4, "ranking": "3:5"}, "has 16 inputs per output"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    mask_conf, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        resolve(mask_conf)


@pytest.mark.parametrize("case", REFUSED_ON_A_MODEL)
def test_refused_on_a_model(case):
    mask_conf, message = REFUSED_ON_A_MODEL[case]
    with pytest.raises(InputError, match=message):
        attach(toy_expert(), mask_conf)


def test_a_model_of_no_family_is_refused():
    with pytest.raises(ValueError, match="no known upstream family.*fairseq.*huggingface.*torchaudio"):
        attach(torch.nn.Linear(3, 3), ROUTING)


def test_accepted_forms():
    """Lists from YAML, whole numbers where a float is meant, layers as keys."""
    _, config = resolve({**ROUTING, "targets": ["attention", "*.fc1.weight"], "scale": 2, "layer_sparsity": {0: 0}})
    assert config.targets == ("attention", "*.fc1.weight")
    assert config.sparsity_of("attention", 0) == 0 and config.sparsity_of("attention", 1) == 0.1


def test_configuration_is_frozen():
    _, config = resolve(ROUTING)
    with pytest.raises(AttributeError):
        config.sparsity = 0.5
