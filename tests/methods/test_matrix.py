"""One matrix: every method of the table against every promise that methods make."""

import dataclasses
import pkgutil
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path

import pytest
import torch
from toys import toy_expert

from espnet_s3router import methods
from espnet_s3router.files import read_yaml
from espnet_s3router.masks import bake, zero_count
from espnet_s3router.masks.names import plain_name
from espnet_s3router.methods import METHODS, attach, resolve

RECIPES = Path(__file__).resolve().parents[2] / "egs2/s3router"
LAYERS = "model.encoder.layers."
FEED_FORWARD = [f"{LAYERS}?.fc?.parametrizations.weight.0.scores"]
ORIGINAL = [f"{LAYERS}?.fc?.parametrizations.weight.original"]
ATTENTION = [f"{LAYERS}?.self_attn.*_proj.parametrizations.weight.0.scores"]
NORMS = [f"{LAYERS}?.*layer_norm.*"]
BIASES = [f"{LAYERS}?.*bias"]
TRANSFORMER = ["model.encoder.*", "model.layer_norm.*", "model.post_extract_proj.*"]
BOTH = FEED_FORWARD + ATTENTION
WITHOUT_GATES = ["*[!d]"]  # fixed gates are frozen parameters, and their names end in "opened"

# "method" or "method, variant": (its options, patterns of the parameters it trains)
CASES = {
    "finetune": ({}, TRANSFORMER),
    "finetune, cnn": ({"train_cnn": True}, ["*"]),
    "head_only": ({}, []),
    "routing": ({"sparsity": 0.08}, FEED_FORWARD),
    "routing, none removed": ({"sparsity": 0.0}, FEED_FORWARD),
    "routing, all": ({"sparsity": 0.3, "targets": "all", "init": "magnitude", "scale": 2.0}, BOTH),
    "routing, attention": ({"sparsity": 0.3, "targets": "attention", "init": "ori_sampled"}, ATTENTION),
    "routing, conv": (
        {"sparsity": 0.25, "targets": "conv"},
        ["model.feature_extractor.conv_layers.0.0.parametrizations.weight.0.scores"],
    ),
    "routing, patterns": (
        {"sparsity": 0.1, "targets": ["*.fc1.weight", "attention"]},
        [f"{LAYERS}?.fc1.parametrizations.weight.0.scores", *ATTENTION],
    ),
    "routing, global": ({"sparsity": 0.2, "targets": "all", "ranking": "global"}, BOTH),
    "routing, 2:4": ({"sparsity": 0.5, "ranking": "2:4"}, FEED_FORWARD),
    "routing, output units": ({"sparsity": 0.25, "ranking": "output_units"}, FEED_FORWARD),
    "routing, input units": ({"sparsity": 0.25, "ranking": "input_units"}, FEED_FORWARD),
    "routing, a score for each output unit": (
        {"sparsity": 0.25, "ranking": "output_units", "score_per": "unit"},
        FEED_FORWARD,
    ),
    "routing, a score for each input unit": (
        {"sparsity": 0.25, "ranking": "input_units", "score_per": "unit", "init": "magnitude"},
        FEED_FORWARD,
    ),
    "routing, units": ({"sparsity": 0.5, "ranking": "units", "targets": "all"}, BOTH),
    "routing, a score for each row and column of a unit": (
        {"sparsity": 0.25, "ranking": "units", "score_per": "unit", "layers": "1-2"},
        [pattern.replace("?", "[12]", 1) for pattern in FEED_FORWARD],
    ),
    "routing, sigmoid": ({"sparsity": 0.08, "estimator": "sigmoid", "train_weights": True}, [*FEED_FORWARD, *ORIGINAL]),
    "routing, keep": ({"keep": 0.93}, FEED_FORWARD),
    "routing, reference": ({"sparsity": 0.0701, "rounding": "reference", "targets": "all"}, BOTH),
    "routing, groups": (
        {"sparsity": 0.9, "targets": "all", "feed_forward_sparsity": 0.1, "attention_sparsity": 0.4},
        BOTH,
    ),
    "routing, layers": (
        {"sparsity": 0.1, "targets": "all", "attention_sparsity": 0.2, "layer_sparsity": {0: 0.0, 2: 0.7}},
        BOTH,
    ),
    "routing, freeze_below": (
        {"sparsity": 0.1, "freeze_below": 2},
        [f"{LAYERS}2.fc?.parametrizations.weight.0.scores"],
    ),
    "routing, some layers": (
        {"sparsity": 0.1, "targets": "all", "layers": "1-2"},
        [pattern.replace("?", "[12]", 1) for pattern in BOTH],
    ),
    "routing, candidates": ({"sparsity": 0.1, "candidates": 0.25}, FEED_FORWARD),
    "routing, random candidates": (
        {"sparsity": 0.1, "candidates": 0.5, "candidates_from": "random", "targets": "all", "ranking": "global"},
        BOTH,
    ),
    "routing, candidates and weights": (
        {"sparsity": 0.1, "candidates": 0.3, "train_weights": True},
        [*FEED_FORWARD, *ORIGINAL],
    ),
    "routing, flip penalty": ({"sparsity": 0.1, "flip_penalty": 0.3}, FEED_FORWARD),
    "routing, target": ({"target_bytes": 100, "candidates": 0.5}, FEED_FORWARD),
    "routing, weights": (
        {"sparsity": 0.1, "train_weights": True},
        [*FEED_FORWARD, *ORIGINAL],
    ),
    "routing, biases": ({"sparsity": 0.1, "train_biases": True}, [*FEED_FORWARD, *BIASES]),
    "routing, norms": ({"sparsity": 0.1, "train_norms": True}, [*FEED_FORWARD, *NORMS]),
    "pathways": ({"sparsity": 0.2, "languages": ["en"]}, [f"{LAYERS}?.fc?.parametrizations.weight.0.by_language.en"]),
    "pathways, weights": (
        {"sparsity": 0.2, "languages": ["en"], "train_weights": True},
        [f"{LAYERS}?.fc?.parametrizations.weight.0.by_language.en", *ORIGINAL],
    ),
    "pathways, one mask": ({"sparsity": 0.2, "languages": ["en"], "heads": "own", "masks": "shared"}, FEED_FORWARD),
    "random": ({"sparsity": 0.2, "targets": "all"}, []),
    "random, biases": ({"sparsity": 0.2, "train_biases": True}, BIASES),
    "magnitude": ({"sparsity": 0.2}, []),
    "magnitude, global": ({"sparsity": 0.2, "ranking": "global", "train_norms": True}, NORMS),
    "routing_prune": ({"sparsity": 0.4, "start": "x"}, BOTH),
    "magnitude, units": ({"sparsity": 0.5, "ranking": "units", "targets": "attention"}, []),
    "routing_prune, units": (
        {"sparsity": 0.5, "ranking": "units", "start": "x", "schedule": "cubic", "updates": 3, "initial_sparsity": 0.2},
        BOTH,
    ),
    "routing_prune, 2:4": ({"sparsity": 0.5, "ranking": "2:4", "start": "x"}, BOTH),
    "routing_prune, layers": (
        {"sparsity": 0.3, "layer_sparsity": {1: 0.5}, "schedule": "cubic", "updates": 3, "interval": 1, "start": "x"},
        BOTH,
    ),
    "routing_prune, weights": (
        {"sparsity": 0.4, "train_weights": True, "start": "x"},
        [*BOTH, f"{LAYERS}?.*.parametrizations.weight.original"],
    ),
    "routing_prune, movement": (
        {
            **{"sparsity": 0.4, "estimator": "signed", "init": "zeros", "train_weights": True, "start": "x"},
            **{"schedule": "cubic", "updates": 3, "ramp_until": 2, "interval": 1},
        },
        [*BOTH, f"{LAYERS}?.*.parametrizations.weight.original"],
    ),
    "parp": ({"sparsity": 0.4, "interval": 2}, TRANSFORMER),
    "parp, remask": ({"sparsity": 0.4, "interval": 2, "form": "remask", "ranking": "matrix"}, TRANSFORMER),
    "parp, 4:8": ({"sparsity": 0.5, "ranking": "4:8", "interval_epochs": 1}, TRANSFORMER),
    "parp_p": ({"sparsity": 0.4, "updates": 4, "interval": 1}, TRANSFORMER),
    "omp": ({"sparsity": 0.4, "start": "x"}, TRANSFORMER),
    "omp, no rewinding": ({"sparsity": 0.4, "rewind": False, "ranking": "matrix", "start": "x"}, TRANSFORMER),
    "imp": ({"sparsity": 0.4, "rounds": 2, "updates": 3, "start": "x"}, TRANSFORMER),
    "imp, steps": ({"sparsity": 0.4, "step": 0.2, "rewind": "start", "updates": 3, "start": "x"}, TRANSFORMER),
    "mpi": ({"sparsity": 0.4, "biases": True}, TRANSFORMER),
    "mpi, cnn": ({"sparsity": 0.3, "targets": ["conv", "feed_forward"], "train_cnn": True, "ranking": "matrix"}, ["*"]),
    "mpi, gradual": ({"sparsity": 0.4, "schedule": "linear", "updates": 3, "ramp_until": 3, "interval": 1}, TRANSFORMER),
    "rp": ({"sparsity": 0.4, "rounding": "reference", "ranking": "matrix"}, TRANSFORMER),
    "hj": ({"sparsity": 0.4, "closed": 0.5, "updates": 3, "seconds": 0.5}, ["*"]),
    "hj, size": (
        {"sparsity": 0.25, "closed": 0.5, "updates": 3, "variant": "size", "units": ["feed_forward"], "train_cnn": False},
        [*TRANSFORMER],
    ),
    "hj, sizes": ({"sparsity": 0.4, "sizes": [0.2], "closed": 0.5, "updates": 3, "seconds": 0.5}, ["*"]),
    "hj, separate, binary": (
        {"sparsity": 0.3, "cnn_sparsity": 0.5, "closed": 0.3, "ramp_until": 2, "variant": "sep_macs", "gates": "binary"},
        ["*"],
    ),
    "hj, blocks": ({"sparsity": 0.05, "closed": 0.4, "updates": 3, "seconds": 0.5, "blocks": True}, ["*"]),  # none closes
    "omp_units": ({"sparsity": 0.4, "seconds": 0.5, "start": "x"}, WITHOUT_GATES),
    "omp_units, size": (
        {"sparsity": 0.25, "variant": "size", "ranking": "group", "rewind": True, "train_cnn": False, "start": "x"},
        ["model.encoder.*[!d]", "model.layer_norm.*", "model.post_extract_proj.*[!d]"],
    ),
    "uniform": ({"sparsity": 0.4, "seconds": 0.5}, WITHOUT_GATES),
    "uniform, layers": (
        {"sparsity": 0.5, "seconds": 0.5, "layers": 2, "train_cnn": False},
        ["model.layer_norm.*", "model.post_extract_proj.*[!d]", "model.encoder.pos_conv.*", "model.encoder.layer_norm.*"]
        + [f"{LAYERS}[01].*[!d]", f"{LAYERS}2.*layer_norm.*"],
    ),
    "uniform, separate": (
        {"sparsity": 0.3, "cnn_sparsity": 0.5, "variant": "sep_macs", "seconds": 0.5, "start": "x"},
        WITHOUT_GATES,
    ),
    "lora": ({"rank": 2}, [f"{LAYERS}?.self_attn.*_proj.parametrizations.weight.0.[ab]"]),
    "lora, all": ({"rank": 3, "alpha": 6.0, "targets": "all"}, [f"{LAYERS}?.*.parametrizations.weight.0.[ab]"]),
    "lora, conv": (
        {"targets": "conv"},
        ["model.feature_extractor.conv_layers.0.0.parametrizations.weight.0.[ab]"],
    ),
    "houlsby": ({"bottleneck": 4}, [f"{LAYERS}?.*.houlsby.*"]),
    "houlsby, norms": ({"bottleneck": 4, "train_norms": True}, [f"{LAYERS}?.*.houlsby.*", *NORMS]),
    "mms_adapter": ({"bottleneck": 4}, [f"{LAYERS}?.mms_adapter.*"]),
    "bitdelta": ({"start": "x"}, [f"{LAYERS}?.*.parametrizations.weight.0.rows"]),
    "bitdelta, both": (
        {"scales": "both", "rest": "vectors", "start": "x"},
        [f"{LAYERS}?.*.parametrizations.weight.0.rows", f"{LAYERS}?.*.parametrizations.weight.0.columns"],
    ),
    "bitdelta, cnn": (
        {"scales": "column", "targets": ["conv", "feed_forward"], "rest": "base", "train_cnn": True, "start": "x"},
        ["*.parametrizations.weight.0.columns"],
    ),
    "bitfit": ({}, BIASES),
    "bitfit, norms": ({"train_norms": True}, [*BIASES, *NORMS]),
}
SPARSE = [case for case in CASES if (row := METHODS.get(case.split(",")[0])) and row.masks]
IN_PLACE = [case for case in SPARSE if METHODS[case.split(",")[0]].finetunes]
MASKED = [case for case in SPARSE if case not in IN_PLACE]
WAVE = torch.randn(2, 320 * 7, generator=torch.Generator().manual_seed(9))


def conf(case):
    return {"method": case.split(",")[0], **CASES[case][0]}


def start_of(attached):
    """The tensors of a finetuned model, for methods that begin with one."""
    if "start" not in attached.config or attached.config["start"] is None:
        return None
    generator = torch.Generator().manual_seed(3)
    return {name: p.detach() + 0.02 * torch.randn(p.shape, generator=generator) for name, p in attached.startable.items()}


def attached_toy(case, training=True):
    """(upstream, handle) before the first update, or with ``training=False`` as built for decoding."""
    expert = toy_expert()
    attached = attach(expert, conf(case))
    if training:
        attached.begin(start_of(attached))
    return expert, attached


def train(expert, attached, steps=3):
    """An epoch of a few Adam steps on the trained parameters and a head; the head is returned."""
    torch.manual_seed(0)  # gates are drawn from torch's own generator
    head = torch.nn.Linear(16, 2)
    torch.nn.init.constant_(head.weight, 0.1)
    head.weight.data[1] *= -0.5
    torch.nn.init.constant_(head.bias, 0.3)
    optimizer = torch.optim.Adam([*attached.trained.values(), *head.parameters()], lr=0.02)
    attached.begin_epoch(1)
    for update in range(1, steps + 1):
        optimizer.zero_grad()
        (head(expert(WAVE)) ** 2).sum().backward()
        optimizer.step()
        attached.update = update
        attached.step(update, optimizer)
    attached.end_epoch()
    return head


def matches(name, patterns):
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def test_every_configuration_has_a_row():
    used = {base for row in METHODS.values() for base in row.config.__mro__}
    for module in pkgutil.iter_modules(methods.__path__, methods.__name__ + "."):
        for name, found in vars(import_module(module.name)).items():
            if dataclasses.is_dataclass(found) and name.endswith("Config") and found not in used:
                pytest.fail(f"{name} of {module.name} has no row. Add its method to METHODS in methods/table.py")


def test_every_method_has_a_case():
    missing = sorted(METHODS.keys() - {case.split(",")[0] for case in CASES})
    line = f'"{missing[0]}": ({{OPTIONS}}, [PATTERNS OF THE PARAMETERS IT TRAINS]),' if missing else ""
    assert not missing, f"Method {missing[0]} has no case. Add to CASES in tests/methods/test_matrix.py the line {line}"


def test_every_case_has_a_method():
    unknown = sorted({case.split(",")[0] for case in CASES} - METHODS.keys())
    assert not unknown, f"Case {unknown[0]} has no method. Add it to METHODS in espnet_s3router/methods/table.py"


def test_every_method_is_in_a_recipe():
    files = [
        *RECIPES.glob("*/*/conf/methods.yaml"),
        *RECIPES.glob("*/*/conf/methods/*.yaml"),
        *RECIPES.glob("*/*/conf/rows.yaml"),
    ]
    rows = [row for path in files for row in read_yaml(path).values()]
    confs = [row.get("frontend_conf", {}).get("mask_conf", {}) for row in rows]
    missing = sorted(METHODS.keys() - {conf.get("method") for conf in confs})
    line = (
        f"{missing[0]}: {{frontend_conf: {{mask_conf: {{method: {missing[0]}}}}}, optim_conf: {{lr: …}}}}" if missing else ""
    )
    assert not missing, (
        f"No recipe runs method {missing[0]}. Add a line such as {line} to egs2/s3router/asterisk/asr1/conf/methods.yaml, "
        "or to that of asterisk/prune1 if the method starts from a dense model"
    )


@pytest.mark.parametrize("case", CASES)
def test_which_parameters_train(case):
    """Exactly the parameters that CASES and the handle name are trained."""
    expert, attached = attached_toy(case)
    training = {name for name, p in expert.named_parameters() if p.requires_grad}
    assert training == set(attached.trained)
    patterns = CASES[case][1]
    expected = {name for name, _ in expert.named_parameters() if matches(name, patterns)}
    assert training == expected
    assert all(any(fnmatchcase(name, pattern) for name in training) for pattern in patterns)
    parameters = dict(expert.named_parameters())
    assert all(parameters[name] is p for name, p in {**attached.trained, **attached.saved}.items())
    assert not set(attached.trained) & set(attached.saved)


@pytest.mark.parametrize("case", CASES)
def test_gradients_reach_exactly_what_trains(case):
    """A trained tensor without a gradient is inert (and stalls DDP); a gradient elsewhere costs memory."""
    expert, attached = attached_toy(case)
    out = expert(WAVE)
    assert out.requires_grad == bool(attached.trained)
    if not attached.trained:
        return
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert {name for name, p in expert.named_parameters() if p.grad is not None} == set(attached.trained)
    for name, parameter in attached.trained.items():
        starts_at_zero = name.endswith((".0.a", "down.weight", "down.bias"))  # behind a factor that is zero at first
        assert starts_at_zero or (parameter.grad != 0).any(), name


@pytest.mark.parametrize("case", CASES)
def test_frozen_weights_stay_bit_for_bit(case):
    """Only trained tensors change, and all of them do, because methods share the base. Tensors from ``start`` are saved."""
    before = dict(toy_expert().named_parameters())
    expert, attached = attached_toy(case)
    initial = {name: p.detach().clone() for name, p in expert.named_parameters()}
    train(expert, attached)
    for name, parameter in expert.named_parameters():
        if name in attached.trained:
            assert not torch.equal(parameter, initial[name]), name
        elif plain_name(name) in before and name not in attached.saved:
            assert torch.equal(parameter, before[plain_name(name)]), name
        else:
            assert torch.equal(parameter, initial[name]), name


@pytest.mark.parametrize("case", CASES)
def test_trained_and_saved_are_all_there_is(case):
    """The base and the listed tensors restore the model: they hold everything that was learned."""
    expert, attached = attached_toy(case)
    train(expert, attached)
    fresh, again = attached_toy(case, training=False)
    with torch.no_grad():
        for name, parameter in {**again.trained, **again.saved}.items():
            parameter.copy_({**attached.trained, **attached.saved}[name])
        assert torch.equal(fresh(WAVE), expert(WAVE))


@pytest.mark.parametrize("case", SPARSE)
def test_sparsity_is_exact_after_training(case):
    expert, attached = attached_toy(case)
    train(expert, attached)
    options = attached.config
    masks = attached.kept()
    assert masks and all(mask.dtype == torch.bool for mask in masks.values())
    zeros = {name: int((~mask).sum()) for name, mask in masks.items()}
    sizes = {name: mask.numel() for name, mask in masks.items()}
    if options.get("ranking") == "global":
        assert sum(zeros.values()) == zero_count(sum(sizes.values()), options["sparsity"])
        return
    for name in masks:
        sparsity = attached.options.sparsity if options.get("target_bytes") else options["sparsity"]
        group = "attention" if "_proj" in name else "feed_forward"
        if options.get(f"{group}_sparsity") is not None:
            sparsity = options[f"{group}_sparsity"]
        layer = int(name.split(".")[3]) if name.startswith(LAYERS) else None
        sparsity = options.get("layer_sparsity", {}).get(layer, sparsity)
        assert zeros[name] == zero_count(sizes[name], sparsity, options.get("rounding", "nearest")), name


@pytest.mark.parametrize("case", IN_PLACE)
def test_removed_weights_are_zeros_of_the_checkpoint(case):
    """A model file is sparse: the zeros of its tensors are the removed weights."""
    expert, attached = attached_toy(case)
    train(expert, attached)
    assert not attached.masks and set(attached.kept()) <= set(attached.trained)
    plain = dict(expert.named_parameters())
    assert all(torch.equal(mask, plain[name] != 0) for name, mask in attached.kept().items())


@pytest.mark.parametrize("case", MASKED)
def test_masks_act_on_every_site(case):
    """Hazard 1: flipping a mask must change the output, also where attention only reads the tensors."""
    expert, attached = attached_toy(case)
    with torch.no_grad():
        before = expert(WAVE)
        for name, masked in attached.masks.items():
            if name.endswith("k_proj.weight") or name.endswith("q_proj.weight"):
                masked.set_mask(torch.rand(masked.shape) > 0.5)
            else:
                masked.set_mask(torch.zeros_like(masked.mask))
            assert not torch.equal(expert(WAVE), before), name
            masked.set_mask(None)
            assert torch.equal(expert(WAVE), before), name


@pytest.mark.parametrize("case", SPARSE)
def test_bake_agrees_bit_for_bit(case):
    expert, attached = attached_toy(case)
    train(expert, attached)
    with torch.no_grad():
        masked = expert(WAVE)
        bake(expert)
        assert torch.equal(expert(WAVE), masked)
    assert set(dict(expert.named_parameters())) == set(dict(toy_expert().named_parameters()))


@pytest.mark.parametrize("case", CASES)
def test_bytes_added(case):
    """A bitmap per mask (of its candidates) or matrix of signs, and four bytes for every other learned number. In a pruned
    model, removed weights need no bytes."""
    expert, attached = attached_toy(case)
    before = attached.bytes_added()
    train(expert, attached)
    share = attached.config.get("candidates", 1.0)
    bits = sum((round(share * mask.numel()) + 7) // 8 for mask in attached.kept().values())
    bits *= len(attached.config.get("languages", ("one",)))  # each language has its masks
    counted = {**attached.trained, **attached.saved}
    numbers = {n: p for n, p in counted.items() if not n.endswith((".scores", ".signs")) and ".by_language." not in n}
    bits += sum((attached.startable[name].numel() + 7) // 8 for name in getattr(attached, "deltas", {}))  # signs
    removed = sum(int((~mask).sum()) for mask in attached.kept().values()) if attached.startable else 0
    if attached.widths() is not None:  # of the same MACs or parameters, others may be left
        before, removed = attached.bytes_added(), attached.removed()
    assert before == attached.bytes_added() == bits + 4 * (sum(p.numel() for p in numbers.values()) - removed)


def test_bytes_added_of_an_odd_tensor():
    """A tensor of 8 * 320 = 2560 bits, three layers of two feed-forward matrices of 512 bits each, and an odd one."""
    assert attached_toy("routing")[1].bytes_added() == 6 * 512 // 8
    assert attached_toy("routing, conv")[1].bytes_added() == 320
    expert = toy_expert()
    expert.model.feature_extractor.conv_layers[0][0] = torch.nn.Conv1d(1, 3, 3)
    assert attach(expert, conf("routing, conv")).bytes_added() == 2  # 9 bits


@pytest.mark.parametrize("case", CASES)
def test_same_seed_same_run(case):
    results = []
    for _ in range(2):
        torch.manual_seed(len(results))  # the global generator must not matter
        expert, attached = attached_toy(case)
        train(expert, attached)
        results.append(expert(WAVE).detach())
    assert torch.equal(*results)


@pytest.mark.parametrize("case", CASES)
def test_handle_knows_its_configuration(case):
    """The handle names its method and every option, defaults included."""
    _, attached = attached_toy(case)
    assert attached.method == case.split(",")[0]
    for key, value in CASES[case][0].items():
        assert attached.config[key] == (tuple(value) if isinstance(value, list) else value)
    assert resolve({"method": attached.method, **attached.config})[0] == attached.method
