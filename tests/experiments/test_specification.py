"""A grid of runs as data: names, seeds, the options that methods get by default, and variants."""

from pathlib import Path

import pytest
import yaml

from espnet_s3router.errors import InputError
from espnet_s3router.experiments.specification import (
    Spec,
    expand,
    merge,
    method_of,
    parse_assignment,
    sparsity_of,
    store,
    updates_of,
)

BASE = {
    "frontend_conf": {"frontend_conf": {"upstream": "mini"}, "mask_conf": {"method": "routing", "sparsity": 0.1}},
    "optim_conf": {"lr": 1e-3},
    "max_epoch": 10,
    "num_iters_per_epoch": 44,
    "accum_grad": 2,
}


def row(method, lr=None, **options):
    return {"frontend_conf": {"mask_conf": {"method": method, **options}}} | ({"optim_conf": {"lr": lr}} if lr else {})


METHODS = {
    "finetune": row("finetune", 3e-4),
    "routing": row("routing", sparsity=0.2),
    "omp": row("omp", sparsity=0.5),
    "imp": row("imp", sparsity=0.5),
    "mpi": row("mpi", sparsity=0.5, start=None),
    "rp": row("rp", sparsity=0.5),
    "given": row("omp", sparsity=0.5, start="mine.pth"),
}
STARTS = {0: "dense0.pth", 1: "dense1.pth"}


def test_names_and_values_of_a_grid():
    specs = expand(BASE, METHODS, ["finetune", "routing"], sparsities=[0.1, 0.3], lrs=[1e-4], seeds=[0, 7], prefix="asr_x")
    assert [spec.name for spec in specs] == [
        *(f"asr_x_finetune_lr0.0001_seed{seed}" for seed in (0, 7)),
        *(f"asr_x_routing_s{sparsity}_lr0.0001_seed{seed}" for sparsity in (0.1, 0.3) for seed in (0, 7)),
    ]
    last = specs[-1]
    assert (last.config["seed"], last.mask_conf["seed"], last.mask_conf["sparsity"]) == (7, 7, 0.3)
    assert BASE["frontend_conf"]["mask_conf"] == {"method": "routing", "sparsity": 0.1}  # nothing is changed in place


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "sparsity is None, expected a fraction removed"),
        ({"sparsity": "1e-1"}, "sparsity is '1e-1', expected a number"),  # YAML 1.1 reads 1e-1 as text
        ({"keep": "0.9"}, "keep is '0.9', expected a number"),
        ({"ranking": "2:4"}, "sparsity is None, expected a fraction removed"),
        ({"target_bytes": "many"}, "target_bytes is 'many', expected a whole number"),
    ],
)
def test_values_that_a_name_cannot_be_made_of(options, message):
    with pytest.raises(InputError, match=f"mask_conf: {message}"):
        expand(BASE, {"bad": row("routing", **options)}, ["bad"])


def test_the_share_kept_is_a_sparsity():
    """A row may have ``keep`` instead: the folder has its sparsity, and no other sparsity is swept."""
    methods = {"kept": row("routing", keep=0.93)}
    (spec,) = expand(BASE, methods, ["kept"])
    assert spec.name == "asr_kept_s0.07_seed0" and "sparsity" not in spec.mask_conf
    assert sparsity_of(spec.mask_conf) == pytest.approx(0.07)
    with pytest.raises(InputError, match="sparsity 0.1 with keep 0.93 is a contradiction"):
        expand(BASE, methods, ["kept"], sparsities=[0.1])


def test_a_target_in_bytes_has_one_sparsity():
    """It stands beside others in a grid of sparsities, once, and its folder has the target."""
    methods = METHODS | {"small": row("routing", target_bytes=5000)}
    specs = expand(BASE, methods, ["small", "routing"], sparsities=[0.3, 0.8])
    assert [spec.name for spec in specs] == ["asr_small_b5000_seed0", "asr_routing_s0.3_seed0", "asr_routing_s0.8_seed0"]
    assert "sparsity" not in specs[0].mask_conf


def test_a_start_for_every_seed():
    methods = METHODS | {"signs": row("bitdelta", start="exp/finetune_seed{seed}/x.pth")}
    specs = expand(BASE, methods, ["signs"], seeds=[0, 12])
    assert [spec.mask_conf["start"] for spec in specs] == ["exp/finetune_seed0/x.pth", "exp/finetune_seed12/x.pth"]


def test_a_pattern_has_one_sparsity():
    """2:4 stands beside others in a grid of sparsities, once."""
    methods = METHODS | {"half": row("omp", sparsity=0.5, ranking="2:4")}
    specs = expand(BASE, methods, ["half", "rp"], sparsities=[0.3, 0.8], starts=STARTS)
    assert [spec.name for spec in specs] == ["asr_half_s0.5_seed0", "asr_rp_s0.3_seed0", "asr_rp_s0.8_seed0"]
    assert specs[0].method == "half"


def test_the_teacher_is_the_dense_model_too():
    """Where a method does not start from one."""
    base = merge(BASE, {"frontend_conf": {"distill": {"weight": 1.0}}})
    omp, mpi = expand(base, METHODS, ["omp", "mpi"], starts=STARTS)
    assert [spec.config["frontend_conf"]["distill"].get("teacher") for spec in (omp, mpi)] == [None, "dense0.pth"]
    assert all(spec.starts_from(Path()) and not spec.starts_from(Path("elsewhere")) for spec in (omp, mpi))


def test_what_pruning_methods_are_given():
    """The model of their seed, unless they say from which they start, and the number of updates that they share out."""
    specs = {spec.name: spec.mask_conf for spec in expand(BASE, METHODS, [*METHODS][2:], seeds=[0, 1], starts=STARTS)}
    starts = {name: conf["start"] for name, conf in specs.items()}
    assert starts == {
        **{f"asr_{label}_s0.5_seed{seed}": STARTS[seed] for label in ("omp", "imp", "rp") for seed in (0, 1)},
        **{f"asr_mpi_s0.5_seed{seed}": None for seed in (0, 1)},
        **{f"asr_given_s0.5_seed{seed}": "mine.pth" for seed in (0, 1)},
    }
    assert specs["asr_imp_s0.5_seed0"]["updates"] == updates_of(BASE) == 220
    assert "updates" not in specs["asr_omp_s0.5_seed0"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"labels": ["parp"]}, "method 'parp' is not in the methods file, which has finetune"),
        ({"sparsities": [0.5, 0.5]}, "asr_omp_s0.5_seed0 twice"),
        ({"sparsities": [0.5, 1.0]}, r"sparsity is 1.0, expected a fraction removed in \[0, 1\)"),
        ({"sparsities": [-0.5]}, "sparsity is -0.5"),
        ({"seeds": [0, 0]}, "twice"),
        ({"starts": {}}, "start is None"),
    ],
)
def test_grids_that_make_no_sense(changes, expected):
    arguments = {"labels": ["omp"], "sparsities": [0.5], "seeds": [0], "starts": STARTS} | changes
    with pytest.raises(InputError, match=expected):
        expand(BASE, METHODS, **arguments)


def test_an_unknown_method_is_told_by_the_table():
    with pytest.raises(InputError, match="Did you mean routing"):
        method_of({"frontend_conf": {"mask_conf": {"method": "rooting"}}})


def test_updates_left_to_the_data():
    assert updates_of({"max_epoch": 3}) is None


def test_updates_of_an_epoch_that_accumulation_does_not_divide():
    """ESPnet counts batches anew in every epoch."""
    assert updates_of({"max_epoch": 10, "num_iters_per_epoch": 10, "accum_grad": 4}) == 20


def test_a_mask_conf_is_replaced_by_another_method_and_changed_without():
    changed = merge(METHODS, {"omp": {"frontend_conf": {"mask_conf": {"sparsity": 0.8}}}, "imp": row("rp", sparsity=0.7)})
    assert changed["omp"]["frontend_conf"]["mask_conf"] == {"method": "omp", "sparsity": 0.8}
    assert changed["imp"]["frontend_conf"]["mask_conf"] == {"method": "rp", "sparsity": 0.7}


def test_a_run_has_one_folder_whether_its_rate_is_swept_or_in_the_file(tmp_path):
    """Or its numbers would count twice, after hours."""
    (swept,) = expand(BASE, METHODS, ["rp"], lrs=[3e-4])
    folder = store(swept, tmp_path)
    for rate, names in ((3e-4, {folder.name}), (1e-3, {folder.name, "asr_rp_s0.5_seed0"})):
        (plain,) = expand(merge(BASE, {"optim_conf": {"lr": rate}}), METHODS, ["rp"])
        (folder / ".trained").touch()
        store(plain, tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == names
    (tmp_path / "asr_rp_s0.5_seed0/.trained").touch()
    (again,) = expand(BASE, METHODS, ["rp"], lrs=[1e-3])
    assert store(again, tmp_path).name == "asr_rp_s0.5_seed0"


def dense(expdir, seed, **changes):
    """The start of a run: the model of a dense run in ``expdir``."""
    (spec,) = expand(merge(BASE, changes), METHODS, ["finetune"], seeds=[seed])
    return str(store(spec, expdir) / "model.pth")


def pruned(starts, chosen="rp"):
    return [spec.variant for spec in expand(BASE, METHODS, [chosen], seeds=list(starts), starts=starts)]


def test_variants_forget_seeds_and_folders(tmp_path):
    """Points that differ in their seed, their score initialisation's seed and the dense model of that seed are one."""
    here, there = tmp_path / "here", tmp_path / "there"
    starts = {seed: dense(here, seed) for seed in (0, 1)}
    variants = pruned(starts)
    assert len(set(variants)) == 1
    assert pruned({0: dense(there, 0)}) == variants[:1]
    assert pruned({0: dense(tmp_path / "longer", 0, max_epoch=20)}) != variants[:1]
    assert pruned({0: str(tmp_path / "of_somebody_else.pth")}) != variants[:1]
    assert pruned(starts, "omp") != variants


def test_the_variant_of_seed_0_is_a_plain_hash():
    """Of the configuration without ``seed``: results that are written down keep their key."""
    import hashlib
    import json

    (spec,) = expand(BASE, METHODS, ["routing"])
    plain = yaml.safe_load(yaml.safe_dump(dict(spec.config)))
    assert plain.pop("seed") == plain["frontend_conf"]["mask_conf"]["seed"] == 0
    assert spec.variant == hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:10]
    (other,) = expand(BASE, METHODS, ["routing"], seeds=[5])
    assert other.variant == spec.variant and Spec("x", merge(spec.config, {"max_epoch": 11})).variant != spec.variant


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.ranking=2:4", "2:4"),
        ("a.lr=1e-3", 1e-3),
        ("a.patience=null", None),
        ("a.n=24", 24),
        ("a.targets=*.fc1.weight", "*.fc1.weight"),
    ],
)
def test_values_of_assignments(text, value):
    """YAML 1.1 alone would read the first as 124 and the second as text."""
    path, parsed = parse_assignment(text)
    assert path[0] == "a" and parsed == value and type(parsed) is type(value)
