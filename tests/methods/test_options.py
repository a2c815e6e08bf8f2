"""Bad options raise an InputError that names the allowed values, before anything changes."""

import pytest
import torch
from toys import toy_expert

from espnet_s3router.errors import InputError
from espnet_s3router.masks import zero_count
from espnet_s3router.methods import attach, resolve

ROUTING = {"method": "routing", "sparsity": 0.1}

MPI = {"method": "mpi", "sparsity": 0.5}
PARP = {"method": "parp", "sparsity": 0.5}
RAMP = {**MPI, "schedule": "linear", "updates": 100}
IMP = {"method": "imp", "sparsity": 0.5, "start": "dense.pth", "updates": 100}
ROUTED = {"method": "routing_prune", "sparsity": 0.5, "start": "dense.pth"}

REFUSED = {
    "no method": ({}, "method is None, expected one of finetune, head_only, routing"),
    "unknown method": ({"method": "ruoting"}, "Did you mean routing"),
    "unknown key": ({**ROUTING, "sparsty": 0.1}, "'sparsty' is not an option of method routing.*Did you mean sparsity"),
    "key of another method": ({"method": "finetune", "sparsity": 0.1}, "allowed: train_cnn"),
    "no options": ({"method": "head_only", "seed": 1}, "allowed: none"),
    "missing": ({"method": "routing"}, "sparsity is None, expected a fraction removed"),
    "unknown target": ({**ROUTING, "targets": "feedforward"}, "'feedforward', expected one of feed_forward, attention"),
    "unknown target in a list": ({**ROUTING, "targets": ["attention", "ffn"]}, "'ffn', expected one of"),
    "no target": ({**ROUTING, "targets": []}, r"targets is \(\), expected"),
    "not a target": ({**ROUTING, "targets": 3}, "targets is 3, expected"),
    "unknown target of lora": ({"method": "lora", "targets": ["q"]}, "'q', expected one of"),
    "unknown init": ({**ROUTING, "init": "zero"}, "'zero', expected one of ori, ori_sampled, magnitude"),
    "unknown rounding": ({**ROUTING, "rounding": "up"}, "nearest, reference"),
    "unknown ranking": ({**ROUTING, "ranking": "layer"}, "matrix, global, output_units, input_units, units, or N:M"),
    "ranking 5:4": ({**ROUTING, "ranking": "5:4"}, "0 < N <= M"),
    "sparsity 1": ({**ROUTING, "sparsity": 1.0}, r"sparsity is 1.0, expected a fraction removed in \[0, 1\)"),
    "sparsity below 0": ({**ROUTING, "sparsity": -0.1}, r"\[0, 1\)"),
    "sparsity nan": ({**ROUTING, "sparsity": float("nan")}, r"\[0, 1\)"),
    "keep 0": ({"method": "routing", "keep": 0.0}, r"keep is 0.0, expected a fraction kept in \(0, 1\]"),
    "keep in words": ({"method": "routing", "keep": "0.9"}, "keep is '0.9', expected a number"),
    "keep and another sparsity": ({**ROUTING, "keep": 0.8}, "sparsity 0.1 with keep 0.8 is a contradiction"),
    "unknown estimator": ({**ROUTING, "estimator": "ste"}, "'ste', expected one of magnitude, sigmoid, signed"),
    "signed and global": ({**ROUTING, "estimator": "signed", "init": "zeros", "ranking": "global"}, "expected matrix with"),
    "signed and ori": ({**ROUTING, "estimator": "signed"}, "init is 'ori', expected one of zeros, kaiming_uniform with est"),
    "dead scores": ({**ROUTING, "init": "zeros"}, "init is 'zeros', expected one of ori"),
    "unknown score_per": ({**ROUTING, "score_per": "row"}, "'row', expected one of entry, unit"),
    "score of a unit without units": ({**ROUTING, "score_per": "unit"}, "expected entry with ranking matrix"),
    "mask and random scores": (
        {**ROUTING, "initial_mask": "m.pth", "init": "kaiming_uniform"},
        "expected one of ori, ori_sampled, magnitude with initial_mask",
    ),
    "mask of another run and units": (
        {"method": "magnitude", "sparsity": 0.1, "ranking": "output_units", "initial_mask": "m.pth"},
        "ranking is 'output_units', expected matrix, global or N:M with initial_mask",
    ),
    "empty mask of another run": (
        {"method": "magnitude", "sparsity": 0.1, "initial_mask": ""},
        "initial_mask is '', expected the path",
    ),
    "mask of another run for random masks": (
        {"method": "random", "sparsity": 0.1, "initial_mask": "m.pth"},
        "key 'initial_mask' is not an option of method random",
    ),
    "routed mask and ramp": (
        {**ROUTED, "initial_mask": "m.pth", "schedule": "linear", "updates": 100},
        "initial_mask with a ramp from 0 would remove nothing",
    ),
    "sparsity in words": ({**ROUTING, "sparsity": "ten"}, "sparsity is 'ten', expected a number"),
    "sparsity true": ({**ROUTING, "sparsity": True}, "expected a number"),
    "group sparsity": ({**ROUTING, "attention_sparsity": 1.2}, r"attention_sparsity is 1.2.*\[0, 1\)"),
    "layer sparsity": ({**ROUTING, "layer_sparsity": {0: 8}}, r"layer_sparsity\[0\] is 8"),
    "layers of a list": ({**ROUTING, "layer_sparsity": 0.5}, "layer_sparsity is 0.5, expected layer: sparsity pairs"),
    "layer by name": ({**ROUTING, "layer_sparsity": {"first": 0.1}}, "layer numbers from 0"),
    "scale": ({**ROUTING, "scale": 0}, "scale is 0, expected a number above 0"),
    "freeze_below": ({**ROUTING, "freeze_below": -1}, "layer number from 0"),
    "freeze_below 1.5": ({**ROUTING, "freeze_below": 1.5}, "expected a whole number"),
    "switch in quotes": ({**ROUTING, "train_weights": "false"}, "expected true or false"),
    "rank": ({"method": "lora", "rank": 0}, "rank is 0, expected a whole number from 1"),
    "rank 1.5": ({"method": "lora", "rank": 1.5}, "expected a whole number"),
    "alpha": ({"method": "lora", "alpha": -1}, "number above 0"),
    "bottleneck": ({"method": "houlsby", "bottleneck": 0}, "whole number from 1"),
    "global and init": (
        {**ROUTING, "ranking": "global", "init": "constant"},
        "ori, ori_sampled, magnitude with ranking global",
    ),
    "global and layers": ({**ROUTING, "ranking": "global", "layer_sparsity": {0: 0.1}}, "contradiction"),
    "2:4 and groups": ({**ROUTING, "sparsity": 0.5, "ranking": "2:4", "feed_forward_sparsity": 0.5}, "contradiction"),
    "2:4 at another sparsity": ({**ROUTING, "ranking": "2:4"}, "sparsity is 0.1, expected 0.5 with ranking 2:4"),
    "routing_prune without start": ({"method": "routing_prune", "sparsity": 0.5}, "start is None, expected a model file"),
    "omp without start": ({"method": "omp", "sparsity": 0.5}, "start is None, expected a model file.*finetune"),
    "imp without start": ({**IMP, "start": None}, "start is None"),
    "start 3": ({**MPI, "start": 3}, "start is 3, expected the path"),
    "empty start": ({**ROUTED, "start": ""}, "start is '', expected the path"),
    "mask and ramp": (
        {**PARP, "initial_mask": "m.pth", "schedule": "linear", "updates": 100},
        "initial_mask with a ramp from 0 would remove nothing",
    ),
    "empty mask": ({**PARP, "initial_mask": ""}, "initial_mask is '', expected the path"),
    "units": ({**MPI, "ranking": "output_units"}, "'output_units', expected one of global, matrix, or N:M"),
    "2:4 of a pruning": ({**MPI, "sparsity": 0.4, "ranking": "2:4"}, "sparsity is 0.4, expected 0.5 with ranking 2:4"),
    "2:4 and biases": ({**MPI, "ranking": "2:4", "biases": True}, "biases with ranking 2:4 is a contradiction"),
    "2:4 and a schedule": ({**RAMP, "ranking": "2:4"}, "ranking 2:4 with schedule: linear is a contradiction"),
    "2:4 routed and a schedule": ({**ROUTED, "ranking": "2:4", "schedule": "cubic", "updates": 9}, "N:M is fixed"),
    "2:4 and rounds": ({**IMP, "ranking": "2:4"}, "ranking 2:4 with 3 rounds is a contradiction"),
    "unknown schedule": ({**MPI, "schedule": "quadratic"}, "'quadratic', expected one of constant, linear, cubic"),
    "schedule without updates": ({**MPI, "schedule": "linear"}, "updates is None, expected the updates of the whole run"),
    "updates 0": ({**RAMP, "updates": 0}, "updates is 0, expected a whole number from 1"),
    "updates 1.5": ({**RAMP, "updates": 1.5}, "updates is 1.5, expected a whole number"),
    "updates true": ({**RAMP, "updates": True}, "updates is True, expected a whole number"),
    "interval 0": ({**PARP, "interval": 0}, "interval is 0, expected a whole number from 1"),
    "idle interval": ({**MPI, "interval": 5}, "interval with schedule: constant is a contradiction"),
    "idle interval of routing": ({**ROUTED, "interval": 5}, "interval with schedule: constant is a contradiction"),
    "idle ramp": ({**PARP, "ramp_until": 5}, "ramp_until with schedule: constant is a contradiction"),
    "idle initial sparsity": ({**PARP, "initial_sparsity": 0.1}, "initial_sparsity with schedule: constant"),
    "ramp beyond the end": ({**RAMP, "ramp_until": 101}, r"ramp_until is 101, .*ramp_until <= updates \(100\)"),
    "ramp that begins late": ({**RAMP, "ramp_from": 50}, r"ramp_until is 50, .*ramp_from \(50\) < ramp_until"),
    "ramp downwards": ({**RAMP, "initial_sparsity": 0.6}, "initial_sparsity is 0.6, expected at most 0.5"),
    "initial sparsity 1": ({**RAMP, "initial_sparsity": 1.0}, r"initial_sparsity is 1.0.*\[0, 1\)"),
    "gradual omp": ({"method": "omp", "sparsity": 0.5, "start": "x", "schedule": "linear"}, "not an option of method omp"),
    "rounds 0": ({**IMP, "rounds": 0}, "rounds is 0, expected a whole number from 1"),
    "imp without updates": ({**IMP, "updates": None}, "updates is None, expected .*which the rounds share"),
    "rewind": ({**IMP, "rewind": "dense"}, "rewind is 'dense', expected true, false or start"),
    "step 1": ({**IMP, "step": 1.0}, "step is 1.0, expected a share of all weights"),
    "step and rounds": ({**IMP, "step": 0.1, "rounds": 3}, "rounds 3 with step 0.1 is a contradiction: .*needs 6 rounds"),
    "more rounds than updates": ({**IMP, "rounds": 101}, "updates is 100, expected a whole number from 101"),
    "unknown form": ({**PARP, "form": "soft"}, "form is 'soft', expected one of hard_threshold, remask"),
    "two intervals": ({**PARP, "interval": 5, "interval_epochs": 1}, "interval and interval_epochs exclude each other"),
    "interval_epochs 0": ({**PARP, "interval_epochs": 0}, "interval_epochs is 0, expected a whole number from 1"),
    "constant parp_p": ({"method": "parp_p", "sparsity": 0.5, "schedule": "constant"}, "constant is method parp"),
    "parp_p without updates": ({"method": "parp_p", "sparsity": 0.5}, "updates is None"),
    "seed of a magnitude": ({**MPI, "seed": 1}, "'seed' is not an option of method mpi"),
    "candidates 0": ({**ROUTING, "candidates": 0}, r"candidates is 0, expected a share of each matrix in \(0, 1\]"),
    "candidates 25": ({**ROUTING, "candidates": 25}, "candidates is 25, expected a share"),
    "candidates from": (
        {**ROUTING, "candidates": 0.5, "candidates_from": "rank"},
        "'rank', expected one of magnitude",
    ),
    "random candidates without a share": (
        {**ROUTING, "candidates_from": "random"},
        "expected magnitude with candidates",
    ),
    "more removed than candidates": (
        {**ROUTING, "candidates": 0.1},
        r"sparsity is 0.1, expected a fraction of the whole matrix below candidates \(0.1\): only these may be removed",
    ),
    "a layer with more removed than candidates": (
        {**ROUTING, "candidates": 0.2, "layer_sparsity": {1: 0.3}},
        r"layer_sparsity\[1\] is 0.3, expected a fraction .* below candidates \(0.2\)",
    ),
    "candidates and 2:4": (
        {**ROUTING, "sparsity": 0.5, "ranking": "2:4", "candidates": 0.7},
        "ranking '2:4' is a contra",
    ),
    "candidates and units": ({**ROUTING, "ranking": "input_units", "candidates": 0.7}, "removes whole patterns or units"),
    "candidates of a pruned model": ({**ROUTED, "candidates": 0.7}, "'candidates' is not an option of method routing_prune"),
    "flip penalty": ({**ROUTING, "flip_penalty": -0.1}, "flip_penalty is -0.1, expected a number from 0"),
    "endless flip penalty": ({**ROUTING, "flip_penalty": float("inf")}, "flip_penalty is inf, expected a number"),
    "target and sparsity": ({**ROUTING, "target_bytes": 100}, "target_bytes with sparsity 0.1 is a contradiction"),
    "target and keep": (
        {"method": "routing", "keep": 0.9, "target_bytes": 100},
        "target_bytes with keep 0.9 is a contra",
    ),
    "target and ranking": (
        {"method": "routing", "ranking": "units", "target_bytes": 100},
        "ranking is 'units', expected one of matrix, global",
    ),
    "target and penalty": (
        {"method": "routing", "flip_penalty": 0.1, "target_bytes": 9},
        "with flip_penalty 0.1 is a c",
    ),
    "target 0": ({"method": "routing", "target_bytes": 0}, "target_bytes is 0, expected a whole number from 1"),
    "target 1e5": ({"method": "routing", "target_bytes": 1e5}, "target_bytes is 100000.0, expected a whole number"),
    "layers by name": ({**ROUTING, "layers": "upper"}, r"layers is 'upper', expected layer numbers from 0 such as \[0, 3\]"),
    "layers downwards": ({**ROUTING, "layers": "6-2"}, "layers is '6-2', expected layer numbers"),
    "no layer": ({**ROUTING, "layers": []}, r"layers is \(\), expected layer numbers"),
    "half a layer": ({**ROUTING, "layers": [1.5]}, r"layers is \(1.5,\), expected layer numbers"),
    "mms bottleneck": ({"method": "mms_adapter", "bottleneck": 0}, "whole number from 1"),
    "bitdelta without start": ({"method": "bitdelta"}, "start is None, expected a model file"),
    "scales of bitdelta": ({"method": "bitdelta", "start": "x", "scales": "axis"}, "'axis', expected one of matrix, row"),
    "rest of bitdelta": ({"method": "bitdelta", "start": "x", "rest": "all"}, "'all', expected one of start, vectors, base"),
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
    "frozen convolutions": ({**MPI, "targets": "conv"}, "targets hold .*conv_layers.*does not train. Set train_cnn: true"),
    "signs of frozen convolutions": (
        {"method": "bitdelta", "start": "x", "targets": "conv"},
        "targets is 'conv', expected matrices that finetune trains; set train_cnn: true or leave out .*conv_layers",
    ),
    "3:5 of 16 inputs of a pruning": ({**MPI, "sparsity": 0.4, "ranking": "3:5"}, "has 16 inputs per output"),
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


@pytest.mark.parametrize("method", ["routing", "mpi"])
def test_keep_is_the_share_kept_of_the_authors_code(method):
    """Their count for 1,638,400 weights at 0.93, one less than sparsity 0.07 gives."""
    _, config = resolve({"method": method, "keep": 0.93})
    assert zero_count(1638400, config.sparsity, config.rounding) == int((1 - 0.93) * 1638400) == 114687
    assert zero_count(1638400, 0.07, "reference") == zero_count(1638400, 0.07) == 114688


def test_defaults_of_a_schedule():
    """The sparsity rises in the first half of the run, every 50 updates."""
    _, config = resolve({"method": "parp_p", "sparsity": 0.5, "updates": 1000})
    ramp = config.ramp(0.5)
    assert (ramp.kind, ramp.initial, ramp.begin, ramp.end, ramp.interval) == ("linear", 0.0, 0, 500, 50)


def test_one_round_may_have_a_pattern():
    assert resolve({**IMP, "ranking": "2:4", "rounds": 1})[1].rounds == 1


def test_configuration_is_frozen():
    _, config = resolve(ROUTING)
    with pytest.raises(AttributeError):
        config.sparsity = 0.5
