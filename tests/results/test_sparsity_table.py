"""The table of zeros: what was counted in the models of a grid, whoever trained them."""

import json
from dataclasses import replace

import pytest
from toy_points import ROW, add_point

from espnet_s3router.errors import InputError
from espnet_s3router.results.rows import put_rows, read_rows
from espnet_s3router.results.sparsity_table import HEAD, table
from espnet_s3router.results.sweep_table import Variant
from espnet_s3router.results.systems import read_point

DENSE, OMP, PARP = Variant("finetune", None, "a"), Variant("omp", 0.5, "b"), Variant("parp", 0.5, "c")


def counted(variant, zeros, *, seed=0):
    """Rows of a model with 100 weights in the pruned tensors, 120 in the upstream, 150 in all; its size is 100 000-fold."""
    about = {"method": variant.method, "sparsity": variant.sparsity, "variant": variant.variant, "seed": seed, "set": ""}
    values = {"entries": 100, "zeros": zeros, "masked": zeros / 100, "upstream": zeros / 120, "model": zeros / 150}
    values["effective_bytes"] = 1e5 * (13 + 4 * (150 - zeros))
    return [replace(ROW, **about, metric=f"sparsity_{key}", value=float(value)) for key, value in values.items()]


def test_models_with_the_same_zeros_share_a_row():
    rows = [*counted(DENSE, 0), *counted(OMP, 50), *counted(OMP, 50, seed=1), *counted(PARP, 50), ROW]
    made = table(rows, [DENSE, OMP, PARP])
    assert made == [
        HEAD,
        ["0", "finetune", "0.00", "0.00", "0.00", "61.30"],
        ["0.5", "omp, parp", "50.00", "41.67", "33.33", "41.30"],
    ]


def test_a_model_that_is_off_is_seen():
    made = table([*counted(OMP, 50), *counted(PARP, 49)], [OMP, PARP])
    assert [cells[1:3] for cells in made[1:]] == [["parp", "49.00"], ["omp", "50.00"]]
    assert table([ROW], [OMP]) == [HEAD]


def test_what_a_point_counted_is_kept_in_the_rows(tmp_path):
    add_point(tmp_path, "asr_omp", "omp", 1, sparsity=0.5)
    file = tmp_path / "asr_omp/point.json"
    before = len(read_point(file).rows())
    about = json.loads(file.read_text("utf-8")) | {"counted": {"entries": 4, "zeros": 2, "masked": 0.5}}
    file.write_text(json.dumps(about), encoding="utf-8")
    rows = read_point(file).rows()
    assert len(rows) == before + 3
    put_rows(tmp_path / "results.tsv", rows)
    found = {row.metric: row.value for row in read_rows(tmp_path / "results.tsv") if not row.set}
    assert found == {"sparsity_entries": 4, "sparsity_zeros": 2, "sparsity_masked": 0.5}


@pytest.mark.parametrize("changes", [{"set": ""}, {"metric": "sparsity_zeros"}])
def test_only_numbers_of_the_model_have_no_set(changes):
    with pytest.raises(InputError, match="expected a decoded set"):
        replace(ROW, **changes)
