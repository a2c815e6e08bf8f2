"""``s3router transcribe`` on toy routes."""

import json

import pytest
import soundfile
from toy_microphone import plug_in

from espnet_s3router.cli.main import main
from espnet_s3router.plugin.deployment.route import write_experiment
from espnet_s3router.serving import Router


def call(bank, capsys, *words, status=0):
    audio = [str(bank.parent / f"{number}.wav") for number in (0, 1)]
    assert main(["transcribe", "--bank", str(bank), *words, *audio]) == status
    return capsys.readouterr(), audio


def test_texts_and_broken_files(bank, capsys):
    printed, audio = call(bank, capsys, "--lang", "nl")
    router = Router.from_dir(bank)
    assert printed.out == "".join(f"{path}\tnl\t{router.transcribe(path, 'nl').text}\n" for path in audio)
    assert "left out:" in printed.err and "ru.route: is truncated or no route file" in printed.err


def test_json_and_times(bank, capsys):
    printed, audio = call(bank, capsys, "--lang", "auto", "--json", "--window", "2")
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [line["file"] for line in lines] == audio
    for line in lines:
        assert line["lang"] in ("nl", "es") and 0 <= line["confidence"] <= 1
        assert line["text"] == " ".join(word["text"] for word in line["words"])
    printed, _ = call(bank, capsys, "--lang", "es", "--timestamps")
    times = [line.split("\t") for line in printed.out.splitlines() if not line.startswith(str(bank.parent))]
    assert times and all(float(start) < float(end) for start, end, _ in times)


def test_faulty_recordings(bank, capsys):
    """A missing one stops the command before it loads the base. One that cannot be read is named at the end."""
    missing, bad = str(bank.parent / "missing.wav"), bank.parent / "bad.wav"
    printed, _ = call(bank, capsys, "--lang", "nl", missing, status=1)
    assert printed.out == "" and f"no file {missing}" in printed.err and "left out" not in printed.err
    bad.write_bytes(b"no audio at all")
    printed, audio = call(bank, capsys, "--lang", "nl", "--json", str(bad), status=1)
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [line["file"] for line in lines] == [str(bad), *audio]
    assert "bad.wav" in lines[0]["error"] and all("text" in line for line in lines[1:])
    assert "3 recordings: 1 problem(s)" in printed.err and "The others are transcribed" in printed.err


def test_a_window_that_is_too_short(bank, capsys):
    for window in ("0.3", "inf", "nan"):
        printed, _ = call(bank, capsys, "--lang", "nl", "--window", window, status=1)
        assert f"--window is {window}, expected 0.4 seconds or more" in printed.err


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # ESPnet's prefix scores of impossible tokens
def test_a_route_without_times_is_named(bank, capsys, trained_like):
    files = trained_like(name="beam", mask_conf={"method": "routing", "sparsity": 0.2})
    write_experiment(*files, bank / "beam.route", decoding={"beam_size": 2, "ctc_weight": 1.0})
    printed, audio = call(bank, capsys, "--lang", "beam", "--timestamps")
    assert [line.split("\t")[0] for line in printed.out.splitlines()] == audio
    assert printed.err.count("route beam decodes by beam search, which gives no times") == 2


def test_an_unknown_language_is_reported_before_any_recording_is_read(bank, capsys):
    printed, _ = call(bank, capsys, "--lang", "fr", status=1)
    assert printed.out == "" and "there is no route 'fr', expected one of es, nl" in printed.err


def test_a_microphone_gives_the_text_of_a_file_with_the_same_samples(bank, capsys, monkeypatch):
    path = bank.parent / "1.wav"
    samples, rate = soundfile.read(path, dtype="float32")
    plug_in(monkeypatch, samples, rate=rate)
    seconds = ["--microphone", str(len(samples) / rate)]
    assert main(["transcribe", "--bank", str(bank), "--lang", "nl", *seconds]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"microphone\tnl\t{Router.from_dir(bank).transcribe(path, 'nl').text}\n"
    assert f"toy microphone: recording {len(samples) / rate:g} s, speak now" in printed.err


def test_a_microphone_or_files(bank, capsys, monkeypatch):
    """Each of these ends before a model is opened."""
    plug_in(monkeypatch, None)
    for words, message in (
        ([], "there is nothing to transcribe. Give at least one recording, or --microphone SECONDS"),
        (["--microphone", "0"], "--microphone is 0, expected seconds above 0"),
        (["--microphone", "2", str(bank.parent / "1.wav")], "--microphone is 2 with 1 recordings, expected one of both"),
        (["--microphone", "2"], "there is no microphone"),
    ):
        assert main(["transcribe", "--bank", str(bank), "--lang", "nl", *words]) == 1
        printed = capsys.readouterr()
        assert message in printed.err and "left out" not in printed.err and not printed.out
    assert main(["transcribe"]) == 1
    assert "no model is named: give --bank, --model or" in capsys.readouterr().err
