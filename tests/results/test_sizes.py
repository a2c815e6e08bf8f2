"""Error against bytes of route files: the curves, the smallest files that reach finetuning, and the plot."""

import json

import pytest
from toy_points import add_point

from espnet_s3router.results.pages.grid import GridPage, grid_results, plot
from espnet_s3router.results.pages.sizes import family, sized_systems, smallest_files
from espnet_s3router.results.scored_runs import collect_runs, systems_by_place

PAGE = GridPage(dev=["dev"], test=["test"])


def add(expdir, name, method, errors, size=None, **changes):
    add_point(expdir, name, method, errors, **{"variant": name} | changes)
    if size is not None:
        (expdir / name / "route.json").write_text(json.dumps({"route": "x.route", "bytes": size, "bytes_masks": 1}))
        (expdir / name / "x.route").touch()


@pytest.fixture
def expdir(tmp_path):
    """Finetuning has 30 % on dev. Errors of ten tokens: (dev, test)."""
    folder = tmp_path / "exp"
    add(folder, "finetune", "finetune", (3, 3))
    add(folder, "r1", "routing", (5, 5), 10_000, sparsity=0.01)
    add(folder, "r3", "routing", (3, 4), 30_000, sparsity=0.03)
    add(folder, "r8", "routing", (2, 2), 80_000, sparsity=0.08)
    add(folder, "l1", "lora_r1", (6, 1), 5_000)
    add(folder, "l4", "lora_r4", (3, 3), 60_000, lr=1e-3)
    add(folder, "l4_bad", "lora_r4", (9, 0), 60_000, lr=3e-3)
    add(folder, "m", "mms_adapter_b16", (4, 4), 20_000)
    return folder


def group_of(expdir):
    (group,) = systems_by_place(collect_runs(expdir)).values()
    return group


def test_names_of_curves():
    names = ["routing_of10", "lora", "lora_r16", "mms_adapter_b4", "bitdelta_axes", "routing"]
    assert [family(name) for name in names] == ["routing", "lora", "lora", "mms_adapter", "bitdelta_axes", "routing"]


def test_points_are_the_best_on_dev_in_the_order_of_their_bytes(expdir):
    points = [(one.family, one.name, one.bytes, round(one.test.value, 2)) for one in sized_systems(group_of(expdir), PAGE)]
    assert points == [
        ("lora", "lora_r1", 5_000, 0.1),
        ("routing", "routing 0.01", 10_000, 0.5),
        ("mms_adapter", "mms_adapter_b16", 20_000, 0.4),
        ("routing", "routing 0.03", 30_000, 0.4),
        ("lora", "lora_r4", 60_000, 0.3),
        ("routing", "routing 0.08", 80_000, 0.2),
    ]


def test_the_smallest_file_that_reaches_finetuning_is_chosen_on_dev(expdir):
    lora, routing, mms, ratio = smallest_files(group_of(expdir), PAGE)
    assert "lora: the smallest file that reaches it is lora_r4 with 60.0 kB, 30.0 on dev and 30.0 on test" in lora
    assert "routing: the smallest file that reaches it is routing 0.03 with 30.0 kB" in routing
    assert "mms_adapter: none of 1 reaches it; the lowest is mms_adapter_b16" in mms
    assert ratio == "bytes of routing 0.03 over those of lora_r4: 0.50"
    (section,) = [one.section for one in grid_results(collect_runs(expdir), PAGE)]
    assert section.comparisons[-4:] == [lora, routing, mms, ratio]


def test_mean_bytes_of_the_seeds(expdir):
    add(expdir, "r8_2", "routing", (2, 2), 90_000, sparsity=0.08, seed=2, variant="r8")
    assert [one.bytes for one in sized_systems(group_of(expdir), PAGE)][-1] == 85_000


def test_no_lines_without_files_or_finetuning(tmp_path):
    add(tmp_path, "finetune", "finetune", 3)
    add(tmp_path, "r1", "routing", 5, sparsity=0.01)
    assert smallest_files(group_of(tmp_path), PAGE) == []
    add(tmp_path / "other", "r1", "routing", 5, 10, sparsity=0.01)
    assert smallest_files(group_of(tmp_path / "other"), PAGE) == []


def test_plot(expdir, tmp_path):
    results = grid_results(collect_runs(expdir), PAGE)
    names = [path.name for path in plot(results, tmp_path, PAGE)]
    assert names == ["cer_against_sparsity.png", "cer_against_bytes.png"]
    assert all((tmp_path / name).stat().st_size > 10_000 for name in names)


def test_accuracies_are_better_when_they_are_higher(expdir):
    for path in expdir.glob("*/inference/*/counts.json"):
        path.write_text(json.dumps({"accuracy": json.loads(path.read_text())["wer"]}))
    lora, routing, mms, ratio = smallest_files(group_of(expdir), PAGE)
    assert "ACCURACY 70.0 of finetune on dev, routing: the smallest file that reaches it is routing 0.03" in routing
    assert "mms_adapter: none of 1 reaches it; the highest is mms_adapter_b16 with 20.0 kB, 60.0 on dev" in mms
    assert ratio == "bytes of routing 0.03 over those of lora_r4: 0.50"
