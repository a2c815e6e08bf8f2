"""Experiment folders read back as runs and systems, and what is refused."""

import json
from dataclasses import replace

import pytest
from toy_points import ROW, add_grid, add_point, add_run

from espnet_s3router.errors import InputError
from espnet_s3router.results.comparisons import compare
from espnet_s3router.results.rows import put_rows, read_rows
from espnet_s3router.results.scored_runs import best_run, choose, collect_runs, read_run, systems


@pytest.fixture
def expdir(tmp_path):
    return add_grid(tmp_path / "exp")


def test_choice_looks_at_the_seeds_all_variants_have(expdir):
    add_point(expdir, "routing_08_s2", "routing", 9, sparsity=0.08, seed=2)
    chosen = choose(systems(collect_runs(expdir)), ["dev"])
    assert [(s.info["method"], s.info["sparsity"], s.seeds) for s in chosen] == [
        ("head_only", None, (1,)),
        ("finetune", None, (1,)),
        ("routing", 0.08, (1, 2)),
    ]


def test_compare_on_shared_seeds_else_unpaired(expdir):
    add_point(expdir, "finetune_s2", "finetune", 8, seed=2)
    head, finetune, *_ = systems(collect_runs(expdir))
    found = compare(finetune, head, ["test"], "cer")
    assert found.difference.value == -0.5 and found.seeds() == ", seed 1"  # seed 1 alone
    assert compare(head, head, ["test"], "cer").seeds() == ""
    add_point(expdir, "lora_s3", "lora", 4, seed=3)
    lora = next(s for s in systems(collect_runs(expdir)) if s.info["method"] == "lora")
    found = compare(finetune, lora, ["test"], "cer")
    assert found.difference.value == pytest.approx(0.25)  # (2 + 8) / 2 against 4
    assert found.seeds() == ", seeds 1, 2 against seed 3"
    assert compare(finetune, lora, ["none"], "cer") is None
    add_point(expdir, "perfect", "perfect", 0)
    perfect = next(s for s in systems(collect_runs(expdir)) if s.info["method"] == "perfect")
    assert compare(finetune, perfect, ["test"], "cer") is None
    assert compare(perfect, finetune, ["test"], "cer").difference.value == -1


def test_two_decodings_need_a_tag(expdir):
    (expdir / "finetune" / "beam" / "test").mkdir(parents=True)
    source = expdir / "finetune" / "inference" / "test" / "counts.json"
    (expdir / "finetune" / "beam" / "test" / "counts.json").write_text(source.read_text())
    with pytest.raises(InputError, match="inference and beam|beam and inference"):
        collect_runs(expdir)
    assert len(collect_runs(expdir, "inference")) == 4


def test_empty_folder(tmp_path):
    with pytest.raises(InputError, match="no folder with a point.json"):
        collect_runs(tmp_path)


def test_what_a_point_counted_is_kept_in_the_rows(tmp_path):
    add_point(tmp_path, "asr_omp", "omp", 1, sparsity=0.5)
    file = tmp_path / "asr_omp/point.json"
    before = len(read_run(file).rows())
    about = json.loads(file.read_text("utf-8")) | {"counted": {"entries": 4, "zeros": 2, "masked": 0.5}}
    file.write_text(json.dumps(about), encoding="utf-8")
    rows = read_run(file).rows()
    assert len(rows) == before + 3
    put_rows(tmp_path / "results.tsv", rows)
    found = {row.metric: row.value for row in read_rows(tmp_path / "results.tsv") if not row.set}
    assert found == {"sparsity_entries": 4, "sparsity_zeros": 2, "sparsity_masked": 0.5}


def test_bytes_of_a_route_file_are_rows_while_it_is_there(tmp_path):
    add_point(tmp_path, "asr_lora", "lora", 1)
    report = {"route": "nl.route", "bytes": 2000, "bytes_masks": 700, "tensor_types": ["float16"], "checked_on": 20}
    (tmp_path / "asr_lora/route.json").write_text(json.dumps(report), encoding="utf-8")
    assert read_run(tmp_path / "asr_lora/point.json").route == {}
    (tmp_path / "asr_lora/nl.route").touch()
    put_rows(tmp_path / "results.tsv", read_run(tmp_path / "asr_lora/point.json").rows())
    found = {row.metric: row.value for row in read_rows(tmp_path / "results.tsv") if not row.set}
    assert found == {"route_bytes": 2000, "route_bytes_masks": 700}


def test_the_best_run_is_the_best_seed_of_the_best_variant(expdir):
    """The mean over seeds chooses the variant; no test set has a say."""
    for name, sparsity, seed, errors in (
        ("a", 0.2, 1, (3, 0)),
        ("b", 0.2, 2, (1, 9)),
        ("c", 0.3, 1, (0, 0)),
        ("d", 0.3, 2, (9, 0)),
    ):
        add_point(expdir, name, "random", errors, sparsity=sparsity, seed=seed)
    runs = [run for run in collect_runs(expdir) if run.info["method"] == "random"]
    assert best_run(runs, ["dev"]).path.name == "b"
    assert best_run([run for run in runs if run.path.name == "d"], ["dev"]).path.name == "d"


@pytest.mark.parametrize("changes", [{"set": ""}, {"metric": "sparsity_zeros"}, {"metric": "route_bytes"}])
def test_only_numbers_of_the_model_have_no_set(changes):
    with pytest.raises(InputError, match="expected a decoded set"):
        replace(ROW, **changes)


def test_alignments_of_another_scoring_are_refused(tmp_path):
    """As when scoring was interrupted between the two files."""
    add_run(tmp_path, "omp", "omp", 1)
    file = tmp_path / "omp/inference/test/word_alignments.json"
    file.write_text(file.read_text("utf-8").replace("SCC", "SSC"), encoding="utf-8")
    with pytest.raises(InputError, match=r"does not fit counts.json beside it; remove both"):
        collect_runs(tmp_path)
