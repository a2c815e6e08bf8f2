"""The share of recordings whose language was found."""

import json

import pytest
from toy_routes import edit

from espnet_s3router.cli.main import main
from espnet_s3router.data.data_dir import DataDir, write_data_dir
from espnet_s3router.errors import InputError
from espnet_s3router.serving import Router
from espnet_s3router.serving.evaluate import Judged, accuracy, by_duration, confusion, judge

CASES = [("en", "en", 1.0), ("en", "es", 2.0), ("es", "en", 5.0), ("es", "es", 3.0), ("fr", "en", 9.0)]
JUDGED = [Judged(str(n), lang, found, seconds, 0.5) for n, (lang, found, seconds) in enumerate(CASES)]


def test_accuracy():
    assert accuracy(JUDGED) == 2 / 5
    assert accuracy(JUDGED, shortest=2.0) == 1 / 4
    assert accuracy(JUDGED, shortest=2.0, same=["en", "es"]) == 3 / 4
    with pytest.raises(InputError, match="no recording has 10.0 seconds"):
        accuracy(JUDGED, shortest=10.0)


def test_tables():
    assert confusion(JUDGED, 2.0) == [
        ["language", "recordings", "en", "es", "fr"],
        ["en", "1", "0.0", "100.0", "0.0"],
        ["es", "2", "50.0", "50.0", "0.0"],
        ["fr", "1", "100.0", "0.0", "0.0"],
    ]
    assert by_duration(JUDGED)[1:] == [["0 to 2", "1", "100.0"], ["2 to 4", "2", "50.0"], ["4 and more", "2", "0.0"]]


def test_datasets(bank, tmp_path, capsys, monkeypatch):
    wav = {f"u{n}": str(tmp_path / f"{n}.wav") for n in (0, 1)}
    write_data_dir(tmp_path / "test_nl", DataDir(wav, dict.fromkeys(wav, "a"), dict.fromkeys(wav, "s")))
    judged = judge(Router.from_dir(bank), {"nl": tmp_path / "test_nl"})
    router = Router.from_dir(bank)
    assert [one.found for one in judged] == [router.identify(path).name for path in wav.values()]
    assert [round(one.seconds, 1) for one in judged] == [1.3, 3.1]
    with pytest.raises(InputError, match="there is no route 'fr'"):
        judge(router, {"fr": tmp_path / "missing"})
    monkeypatch.setattr(router, "identify", None)  # it would fail
    with pytest.raises(InputError, match="missing"):
        judge(router, {"nl": tmp_path / "test_nl", "es": tmp_path / "missing"})
    assert main(["identify", "--bank", str(bank), "--same", "nl,es", f"nl={tmp_path / 'test_nl'}"]) == 0
    assert "accuracy_from_2_s_nl_es_as_one: 1\n" in capsys.readouterr().out
    assert main(["identify", "--bank", str(bank), "nl"]) == 1
    assert "expected LANG=DIR" in capsys.readouterr().err


def test_bad_calls(bank, tmp_path, capsys):
    for words, message in (
        (["nl=a", "nl=b"], "nl has two datasets, a and b"),
        (["--same", "nl,de", "nl=a"], "there is no route 'de'"),
        (["--device", "nonsense", "nl=a"], "the device is 'nonsense'"),
    ):
        assert main(["identify", "--bank", str(bank), *words]) == 1
        assert message in capsys.readouterr().err


def test_a_route_that_auto_never_chooses(bank, tmp_path):
    (bank / "nl.route").rename(bank / "vm.route")
    edit(bank / "vm.route", lambda header, _: header["config"].update(decoding={"intents": True}))
    with pytest.raises(InputError, match="route vm gives intents, so auto never chooses it. Leave out its dataset"):
        judge(Router.from_dir(bank), {"vm": tmp_path / "missing"})


def test_short_recordings_have_no_figure_for_long_ones(bank, tmp_path, capsys):
    write_data_dir(tmp_path / "test_nl", DataDir({"u0": str(tmp_path / "0.wav")}, {"u0": "a"}, {"u0": "s"}))
    assert main(["identify", "--bank", str(bank), "--json", f"nl={tmp_path / 'test_nl'}"]) == 0
    printed = capsys.readouterr()
    figures = json.loads(printed.out)
    assert figures["recordings"] == 1 and "accuracy_from_2_s" not in figures
    assert "no recording has 2 seconds or more" in printed.err and "left out:" in printed.err
