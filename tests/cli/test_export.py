"""``s3router export``: what it needs, and what it prints."""

import pytest

from espnet_s3router.cli.deployment import export
from espnet_s3router.cli.main import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected the folder of an experiment, or --bank"),
        (["exp", "--bank", "routes"], "give one of them"),
        (["--bank", "routes", "--kinds", "int8"], "--bank with int8: the weights that routes change stay in 32 bits"),
        (["exp"], "there is no recording to compare the models on: give some with --audio or --check_data"),
        (["exp", "--audio", "a.wav", "--kinds", "fp32", "int8"], "int8 needs recordings with texts"),
        (["exp", "--audio", "a.wav", "--check_utterances", "0"], "--check_utterances is 0, expected at least 1"),
        (["exp", "--check_data", "absent"], "absent: no such data directory"),
    ],
)
def test_bad_input(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *words, "--out", "out"]) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_that_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "exp", "--audio", "a.wav", "--out", "out"]) == 1
    assert "exp holds no config.yaml: give the folder of a finished experiment" in capsys.readouterr().err


def test_what_is_printed(capsys):
    report = {
        "bytes": {"model.int8.onnx": 12_700_000, "model.onnx": 34_000_000},
        "compared_on": 40,
        "error_rates": {"wer": 36.64},
        "error_rates_int8": {"wer": 37.07},
        "utterances_left_out": 160,
        "int8_products": 25,
        "reduce_range": True,
    }
    export.print_report("onnx", report)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "onnx/model.int8.onnx: 12.7 MB" and "same text as the trained model on 40 recordings" in lines
    assert "WER: 36.64 %, int8 37.07 %" in lines
    assert "the rates are those of a part: 160 utterances of the directory are left out" in lines
    assert "25 matrix products in 7 bits: this processor needs it; convolutions stay in 32" in lines
