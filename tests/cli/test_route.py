"""``s3router route``: every action prints for people and as JSON, and wrong files end in a message and status 1."""

import json

import pytest
from toy_routes import head, masks, route, weights

from espnet_s3router.cli.main import main
from espnet_s3router.cli.routes.route import MERGE_RULES
from espnet_s3router.routes import read_route, write_route
from espnet_s3router.routes.compare import MERGES


@pytest.fixture
def files(tmp_path):
    """Two route files whose masks need no base."""
    paths = [tmp_path / "nl.route", tmp_path / "de.route"]
    for path, seed in zip(paths, (0, 1)):
        write_route(path, route(tensors=head(seed)))
    return list(map(str, paths))


def output(capsys, *words, status=0):
    assert main(["route", *words]) == status
    return capsys.readouterr()


def test_rules_are_those_of_the_library():
    assert tuple(MERGES) == MERGE_RULES


def test_info(files, capsys):
    text = output(capsys, "info", *files).out
    assert text.count("6 masks on 18432 connections") == 2 and "language: mdw" in text
    assert "layers.4.weight" in text and "patterns" in text
    lines = output(capsys, "info", "--json", *files).out.splitlines()
    assert [json.loads(line)["file"] for line in lines] == files


def test_diff(files, capsys):
    text = output(capsys, "diff", *files).out
    assert "IoU of removed" in text and "1.0000" in text
    assert json.loads(output(capsys, "diff", "--json", *files).out)["iou"] == 1.0


def test_merge(files, tmp_path, capsys):
    out = str(tmp_path / "both.route")
    figures = json.loads(output(capsys, "merge", *files, "--rule", "union", "--head", files[1], "--out", out, "--json").out)
    assert figures["metadata"]["merged"] == {"rule": "union", "head": files[1], "masks": files}
    merged = read_route(out)
    assert (merged.tensors["head/ctc.ctc_lo.weight"] == head(1)["head/ctc.ctc_lo.weight"]).all()
    assert merged.masks.keys() == masks().keys()


def test_merge_never_replaces_its_sources(files, tmp_path, capsys):
    before = [(tmp_path / name).read_bytes() for name in ("nl.route", "de.route")]
    (tmp_path / "x").mkdir()
    for out, message in (
        (files[1], "one of the routes to merge"),
        (tmp_path / "x/../nl.route", "one of the routes to merge"),
        (tmp_path, f"{tmp_path} is a folder, expected the path of a file"),
    ):
        assert message in output(capsys, "merge", *files, "--rule", "union", "--out", str(out), status=1).err
    assert [(tmp_path / name).read_bytes() for name in ("nl.route", "de.route")] == before


def test_gather(files, tmp_path, capsys):
    write_route(tmp_path / "de.route", route(metadata={"language": "de"}))
    bank = tmp_path / "bank"
    assert output(capsys, "gather", *files, "--into", str(bank)).out == f"{bank}/mdw.route\n{bank}/de.route\n"
    assert "is a file, expected a folder" in output(capsys, "gather", *files, "--into", files[0], status=1).err
    assert "its language is" not in output(capsys, "gather", files[0], "--into", str(bank), "--json").err
    assert "all are named mdw" in output(capsys, "gather", files[0], files[0], "--into", str(bank), status=1).err


def test_verify(files, tmp_path, capsys):
    assert output(capsys, "verify", *files).out == f"{files[0]}: ok\n{files[1]}: ok\n"
    broken = tmp_path / "broken.route"
    broken.write_bytes((tmp_path / "nl.route").read_bytes()[:-5])
    read = output(capsys, "verify", files[0], str(broken), files[1], status=1)
    assert read.out == f"{files[0]}: ok\n{files[1]}: ok\n"
    assert read.err.startswith("error: 3 route files: 1 problem(s)\n") and f"{broken}: is truncated" in read.err
    lines = output(capsys, "verify", "--json", str(broken), files[0], status=1).out.splitlines()
    assert [json.loads(line)["ok"] for line in lines] == [False, True]


def test_masks_that_need_the_base(tmp_path, capsys):
    """Nothing is guessed: without its base the file is not called whole."""
    write_route(tmp_path / "x.route", route(), weights())
    assert "give the base" in output(capsys, "verify", str(tmp_path / "x.route"), status=1).err


@pytest.mark.parametrize("metric", ["cer", "=3", "cer=nan", "cer=high"])
def test_metric_without_name_or_number(metric, capsys):
    words = ("write", "a.yaml", "b.pth", "c.route", "--metric", metric)
    assert f"error: --metric is {metric!r}, expected NAME=VALUE" in output(capsys, *words, status=1).err


@pytest.mark.parametrize("action", ["write", "info", "diff", "merge", "verify"])
def test_help_has_an_example(action, capsys):
    with pytest.raises(SystemExit):
        main(["route", action, "--help"])
    assert "example: s3router route" in capsys.readouterr().out


def test_a_bank(files, tmp_path, capsys):
    """A row for each file with the figures of ``route info``; broken files and another base are errors."""
    assert main(["bank", str(tmp_path)]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "language", "task", "method", "removed", "bytes", "licence", "base"]
    assert [row.split()[:2] for row in rows] == [["de", "mdw"], ["nl", "mdw"]]
    figures = json.loads(output(capsys, "info", "--json", files[0]).out)
    (tmp_path / "xx.route").write_bytes((tmp_path / "nl.route").read_bytes()[:-5])
    other = route(tensors=head(0), base="f" * 64)
    write_route(tmp_path / "yy.route", other)
    assert main(["bank", str(tmp_path), "--json"]) == 1
    printed = capsys.readouterr()
    de, nl, xx, yy = map(json.loads, printed.out.splitlines())
    assert {key: nl[key] for key in ("sparsity", "bytes", "base")} == {
        key: figures[key] for key in ("sparsity", "bytes", "base")
    }
    assert (nl["method"], nl["licence"]) == tuple(figures["metadata"].get(key) for key in ("method", "licence"))
    assert de["problem"] is nl["problem"] is None and "is truncated" in xx["problem"]
    assert "belongs to base ffff" in yy["problem"]
    assert "Others can be served: 2" in printed.err and "4 route files: 2 problem(s)" in printed.err


def test_a_bank_of_nothing(tmp_path, capsys):
    assert main(["bank", str(tmp_path)]) == 1
    assert "holds no *.route file, expected a folder of routes" in capsys.readouterr().err
