"""The tidy results file: what it refuses, and that writers do not lose each other's rows."""

import multiprocessing
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_s3router import files
from espnet_s3router.errors import InputError
from espnet_s3router.results.rows import COLUMNS, ResultRow, put_rows, read_rows

DESIGN = (
    "recipe upstream split set method variant sparsity targets init lr seed metric value params_trained "
    "params_total macs bytes_added train_seconds updates commit base"
)


def row(**changes):
    plain = {
        **{"recipe": "asterisk/asr1", "upstream": "mini", "split": "10min", "set": "test_en"},
        **{
            "method": "routing",
            "variant": "ab12",
            "sparsity": 0.08,
            "targets": "feed_forward",
            "init": "ori",
        },
        **{"lr": 1e-4, "seed": 1, "metric": "cer", "value": 20.5, "params_trained": 10, "params_total": 20},
        **{"macs": None, "bytes_added": 3, "train_seconds": 1.5, "updates": 7, "commit": "1a2b3c4"},
    }
    return ResultRow(**plain | changes)


def test_columns_are_the_contract():
    assert tuple(DESIGN.split()) == COLUMNS


def test_rows_are_frozen():
    with pytest.raises(FrozenInstanceError):
        row().value = 1


text = st.text(st.characters(exclude_characters='\t\r\n"', exclude_categories=["Cs"]), min_size=1, max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(text, st.none() | st.floats(0, 0.999), finite, st.integers(), st.none() | st.integers(0, 10**12))
def test_what_is_written_is_read(tmp_path_factory, name, sparsity, value, seed, macs):
    path = tmp_path_factory.mktemp("rows") / "results.tsv"
    rows = [
        row(recipe=name, sparsity=sparsity, value=value, seed=seed, macs=macs),
        row(metric="wer", targets=""),
    ]
    put_rows(path, rows)
    assert sorted(read_rows(path), key=lambda r: r.metric) == rows


def test_same_key_is_replaced_and_order_does_not_matter(tmp_path):
    first, second, third = row(), row(metric="wer"), row(seed=2)
    put_rows(tmp_path / "a", [first, second])
    put_rows(tmp_path / "a", [third, replace(first, value=1.0)])
    put_rows(tmp_path / "b", [third])
    put_rows(tmp_path / "b", [second, replace(first, value=1.0)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert [r.value for r in read_rows(tmp_path / "a")] == [1.0, 20.5, 20.5]


def test_duplicates_in_one_call(tmp_path):
    with pytest.raises(InputError, match="key"):
        put_rows(tmp_path / "a", [row(), row(value=2.0)])
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sparsity": 1.0}, r"sparsity.*\[0, 1\)"),
        ({"sparsity": -0.1}, "sparsity"),
        ({"value": float("nan")}, "value is nan"),
        ({"seed": "1"}, "seed.*integer"),
        ({"seed": True}, "seed"),
        ({"updates": 1.5}, "updates"),
        ({"bytes_added": -1}, "bytes_added"),
        ({"lr": None}, "lr"),
        ({"recipe": ""}, "recipe"),
        ({"commit": "a\tb"}, "commit.*tabs"),
        ({"targets": None}, "targets"),
    ],
)
def test_values_out_of_range(changes, expected):
    with pytest.raises(InputError, match=expected):
        row(**changes)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda lines: lines[1:], "columns"),
        (lambda lines: [*lines, lines[1]], "line 3.*second row"),
        (lambda lines: [lines[0], lines[1] + "\tx"], "line 2.*22 columns"),
        (lambda lines: [lines[0], lines[1].replace("20.5", "many")], "line 2.*many"),
        (lambda lines: [lines[0], ""], "line 2.*1 columns"),
    ],
)
def test_spoilt_files_are_refused_and_left_alone(tmp_path, spoil, expected):
    path = tmp_path / "results.tsv"
    put_rows(path, [row()])
    path.write_text("\n".join(spoil(path.read_text().splitlines())) + "\n")
    before = path.read_bytes()
    with pytest.raises(InputError, match=expected):
        put_rows(path, [row(seed=9)])
    assert path.read_bytes() == before


def test_no_file_has_no_rows(tmp_path):
    assert read_rows(tmp_path / "none") == []


def _write(path, seed):
    for metric in ("cer", "wer", "ter"):
        put_rows(path, [row(seed=seed, metric=metric)])


def test_processes_do_not_lose_rows(tmp_path):
    path = tmp_path / "exp" / "results.tsv"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write, args=(path, seed)) for seed in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(read_rows(path)) == 9
    assert sorted(p.name for p in path.parent.iterdir()) == [".results.tsv.lock", "results.tsv"]


def test_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "results.tsv"
    put_rows(path, [row()])
    before = path.read_bytes()
    monkeypatch.setattr(files.os, "fsync", lambda fd: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        put_rows(path, [row(seed=2)])
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.tmp"))
    assert not list(tmp_path.glob(".*.tmp"))


def test_older_files_lack_the_base(tmp_path):
    """They are read, and new rows stand beside theirs."""
    path = tmp_path / "results.tsv"
    put_rows(path, [row()])
    old = ["\t".join(line.split("\t")[:-1]) for line in path.read_text("utf-8").splitlines()]
    path.write_text("\n".join(old) + "\n", encoding="utf-8")
    assert read_rows(path) == [row()] and row().base == ""
    put_rows(path, [row(seed=5, base="a1b2c3d4e5f6")])
    assert {found.base for found in read_rows(path)} == {"", "a1b2c3d4e5f6"}


def test_new_weights_under_an_old_name_are_refused(tmp_path):
    path = tmp_path / "results.tsv"
    put_rows(path, [row(base="a1b2c3d4e5f6"), row(upstream="other", base="000000000000")])
    before = path.read_text("utf-8")
    with pytest.raises(InputError, match="names two sets of weights: a1b2c3d4e5f6 of .* and ffffffffffff of .* --expdir"):
        put_rows(path, [row(seed=5, base="ffffffffffff")])
    assert path.read_text("utf-8") == before
    put_rows(path, [row(seed=5, base="ffffffffffff")], replaced_place=row().place)
