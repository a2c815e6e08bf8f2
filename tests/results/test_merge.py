"""Rows that several machines have finished, in one file."""

from dataclasses import replace

import pytest

from espnet_s3router.results.merge import main
from espnet_s3router.results.rows import ResultRow, put_rows, read_rows

ROW = ResultRow(
    **{"recipe": "toy/prune1", "upstream": "mini", "split": "10min", "set": "test", "method": "omp", "variant": "ab"},
    **{"sparsity": 0.5, "targets": "all", "init": "", "lr": 1e-3, "seed": 0, "metric": "cer", "value": 50.0, "macs": None},
    **{"params_trained": 9, "params_total": 9, "bytes_added": 9, "train_seconds": 9.5, "updates": 9, "commit": "1a2b3c4"},
)


def test_new_rows_are_added_and_newer_ones_replace(tmp_path, capsys):
    committed = [ROW, replace(ROW, seed=1, value=51.0)]
    put_rows(tmp_path / "prune.tsv", committed)
    put_rows(tmp_path / "here.tsv", [replace(ROW, value=49.0)])
    put_rows(tmp_path / "there.tsv", [replace(ROW, seed=2), replace(ROW, method="finetune", sparsity=None)])
    files = [str(tmp_path / name) for name in ("here.tsv", "there.tsv", "prune.tsv")]
    assert main([*files, "--methods", "omp"]) == 0
    printed = capsys.readouterr().out
    assert "2 rows put there, 3 in all" in printed and "CER of omp seed 0 on test: 50.0, now 49.0" in printed
    assert {row.seed: row.value for row in read_rows(files[-1])} == {0: 49.0, 1: 51.0, 2: 50.0}
    assert main(files) == 0
    assert {row.method for row in read_rows(files[-1])} == {"omp", "finetune"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["absent.tsv"], "absent.tsv: there is no such file"), (["here.tsv", "--methods", "parp"], "no rows of parp")],
)
def test_nothing_to_merge(tmp_path, monkeypatch, capsys, words, expected):
    monkeypatch.chdir(tmp_path)
    put_rows("here.tsv", [ROW])
    source, *rest = words
    assert main([source, "prune.tsv", *rest]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and expected in printed
    assert not (tmp_path / "prune.tsv").exists()
